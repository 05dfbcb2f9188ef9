"""A run's numbers as Kubeflow's trainer status: the service tells it in a run's view, a sink posts it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from pydantic import JsonValue

from synfarm.contracts.trainer_status import TrainerMetric, TrainerStatus

__all__ = ["trainer_status"]


def trainer_status(
    *,
    step: int,
    total: int,
    epoch: float,
    losses: Mapping[str, float],
    images_per_second: float | None,
    remaining_seconds: float | None,
    evals: Mapping[str, JsonValue],
    at: datetime,
) -> TrainerStatus:
    """``evals``: records by step, then by name, as ``RunView.evals``."""
    values: dict[str, float] = {"currentStep": step, "totalSteps": total, "currentEpoch": epoch}
    if "total" in losses:
        values["loss"] = losses["total"]
    values |= {f"loss.{name}": value for name, value in losses.items() if name != "total"}
    if images_per_second is not None:
        values["imagesPerSecond"] = images_per_second
    values |= _newest(evals)
    return TrainerStatus(
        progressPercentage=min(100, 100 * step // total),
        estimatedRemainingSeconds=None if remaining_seconds is None else max(0, round(remaining_seconds)),
        metrics=tuple(TrainerMetric(name=name, value=f"{value:.6g}") for name, value in values.items()),
        lastUpdatedTime=at,
    )


def _newest(evals: Mapping[str, JsonValue]) -> dict[str, float]:
    found: dict[str, float] = {}
    for step in sorted((step for step in evals if step.isdigit()), key=int):
        named = evals[step]
        for name, record in named.items() if isinstance(named, dict) else ():
            top1 = record.get("top1") if isinstance(record, dict) else None
            if isinstance(top1, float | int):
                found[f"eval.{name}"] = float(top1)
    return found
