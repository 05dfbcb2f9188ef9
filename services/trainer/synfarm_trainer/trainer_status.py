"""A run's numbers as Kubeflow's trainer status: the service tells it in a run's view, a sink posts it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from pydantic import JsonValue

from synfarm.contracts.trainer_status import TrainerMetric, TrainerStatus
from synfarm_trainer.top1 import newest_top1

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
    values |= {f"eval.{name}": value for name, value in newest_top1(evals).items()}
    return TrainerStatus(
        progressPercentage=min(100, 100 * step // total),
        estimatedRemainingSeconds=None if remaining_seconds is None else max(0, round(remaining_seconds)),
        metrics=tuple(TrainerMetric(name=name, value=f"{value:.6g}") for name, value in values.items()),
        lastUpdatedTime=at,
    )
