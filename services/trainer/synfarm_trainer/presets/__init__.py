"""Named configurations, each value with its source, and the one way from a request to a resolved configuration."""

from __future__ import annotations

from collections.abc import Mapping

from synfarm_trainer.config import TrainConfig
from synfarm_trainer.overrides import apply_overrides
from synfarm_trainer.presets.registry import built, preset_names, preset_of

__all__ = ["preset_names", "preset_of", "resolve"]


def resolve(preset: str, overrides: Mapping[str, object] | None = None) -> TrainConfig:
    """The preset with its overrides applied: ``{"optim.lr": 0.001}``.

    Raises:
        ValueError: unknown preset or field (with near names), or a value that does not fit.
    """
    return apply_overrides(built(preset), overrides or {})
