"""The networks and the objective that trains them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from synfarm_trainer.config.checks import need

__all__ = ["ModelConfig", "ObjectiveConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """A plain pre-norm ViT with learned positions and a class token (method section 3.3)."""

    patch: int = 16
    width: int = 768
    depth: int = 12
    heads: int = 12
    mlp_ratio: float = 4.0
    drop_path: float = 0.1
    """Stochastic depth of the student's last block; earlier blocks rise to it linearly from 0."""
    init_std: float = 0.02
    """Of linear weights: 0.02 for the paper's widths; a narrow network needs about 1 / sqrt(width) to get going."""

    def __post_init__(self) -> None:
        for name in ("patch", "width", "depth", "heads"):
            need(getattr(self, name) >= 1, f"model.{name}", "must be at least 1")
        need(self.width % self.heads == 0, "model.heads", f"must divide model.width ({self.width})")
        need(0 <= self.drop_path < 1, "model.drop_path", "must be in [0, 1)")
        need(self.mlp_ratio > 0, "model.mlp_ratio", "must be positive")
        need(0 < self.init_std <= 1, "model.init_std", "must be in (0, 1]")


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectiveConfig:
    """SynCLR (paper, equation 4): contrastive terms against an EMA teacher, and iBOT's masked patches.

    The contrastive term of the global crops has weight 1; a term of weight 0 is not computed at all.
    """

    name: Literal["synclr"] = "synclr"
    temperature: float = 0.08
    """Of the contrastive terms."""
    head_hidden: int = 4096
    head_out: int = 256
    """Width of keys and anchors."""
    local_weight: float = 1.0
    """Of the contrastive term of the local crops; 0 switches local crops off."""
    ibot_weight: float = 1.0
    """Of the masked patches; 0 switches masks, mask token and patch heads off."""
    prototypes: int = 65_536
    patch_hidden: int = 2048
    patch_bottleneck: int = 256
    student_temperature: float = 0.1
    """Of the masked patches' predictions."""
    teacher_temperature_start: float = 0.04
    teacher_temperature: float = 0.07
    """Of the masked patches' targets, reached linearly in the next field's steps."""
    teacher_temperature_steps: int = 4000
    sinkhorn_rounds: int = 3

    def __post_init__(self) -> None:
        temperatures = ("temperature", "student_temperature", "teacher_temperature", "teacher_temperature_start")
        for name in temperatures:
            need(getattr(self, name) > 0, f"objective.{name}", "must be positive")
        for name in ("head_hidden", "patch_hidden", "sinkhorn_rounds"):
            need(getattr(self, name) >= 1, f"objective.{name}", "must be at least 1")
        for name in ("head_out", "patch_bottleneck", "prototypes"):
            need(getattr(self, name) >= 2, f"objective.{name}", "must be at least 2")
        for name in ("local_weight", "ibot_weight", "teacher_temperature_steps"):
            need(getattr(self, name) >= 0, f"objective.{name}", "must not be negative")
