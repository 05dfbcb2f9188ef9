"""What objectives with a projector have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from synfarm_trainer.config.checks import later
from synfarm_trainer.config.objectives.base import ObjectiveConfig

__all__ = ["ProjectedConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectedConfig(ObjectiveConfig):
    """The norms of projector and predictor."""

    head_norm: Literal["layer", "batch"] = later("layer")
    """``layer``: LayerNorm and GELU, as SynCLR's release. ``batch``: BatchNorm over all ranks and ReLU, as the papers
    (method section 3.4); the last layer has a bare BatchNorm, in stablerep and simclr none."""
    batch_norm_over: Literal["views", "batch"] = later("views")
    """Whose statistics: ``views``: of crops of the same place in their captions, as StableRep's release. ``batch``: of
    all crops of a pass."""

    @property
    def needs_whole_share(self) -> bool:
        return self.head_norm == "batch"
