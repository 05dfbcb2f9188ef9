"""Records as named numbers of a step, with the same names in every sink."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from synfarm_trainer.sinks.protocol import RecordKind

__all__ = ["scalars"]

_OF_A_STEP = {
    "learning_rate": "schedule/learning_rate",
    "ema_momentum": "schedule/ema_momentum",
    "epoch": "schedule/epoch",
    "seconds": "speed/seconds",
    "data_wait_seconds": "speed/data_wait_seconds",
    "images_per_second": "speed/images_per_second",
    "tflops_per_second": "speed/tflops_per_second",
    "mfu": "speed/mfu",
    "mfu_achievable": "speed/mfu_achievable",
    "refilled": "data/refilled",
}


def scalars(kind: RecordKind, data: Mapping[str, Any]) -> tuple[int, dict[str, float]] | None:
    """(step, numbers by name): ``loss/<term>``, ``monitor/<name>``, ``eval/<name>/<field>``; None if it has none."""
    step = data.get("step")
    if not isinstance(step, int):
        return None
    found: dict[str, float] = {}
    if kind == "step":
        found |= {f"loss/{name}": value for name, value in data["losses"].items()}
        found |= {name: float(data[field]) for field, name in _OF_A_STEP.items() if data.get(field) is not None}
        found |= {f"speed/seconds_{part}": value for part, value in data.get("split", {}).items()}
        found |= {f"reading/{name}": value for name, value in data.get("reading", {}).items()}
        found |= {f"monitor/{name}": value for name, value in data.get("monitors", {}).items()}
    elif kind == "eval":
        # Shares and their errors; whole numbers are sizes and settings.
        name = data.get("name", "eval")
        found = {f"eval/{name}/{field}": value for field, value in data.items() if isinstance(value, float)}
    elif kind == "checkpoint":
        told = ("bytes", "stall_seconds", "upload_seconds")
        found = {f"checkpoint/{field}": float(data[field]) for field in told if data.get(field) is not None}
    return (step, found) if found else None
