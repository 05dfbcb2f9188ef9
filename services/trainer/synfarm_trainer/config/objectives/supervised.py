"""Objectives that are told what an image shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from synfarm_trainer.config.checks import need
from synfarm_trainer.config.objectives.base import ObjectiveConfig

__all__ = ["SupceConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SupceConfig(ObjectiveConfig):
    """Supervised cross-entropy: the concept is the class. A row of the paper's table 5."""

    name: Literal["supce"] = "supce"
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        need(0 <= self.label_smoothing < 1, "objective.label_smoothing", "must be in [0, 1)")
