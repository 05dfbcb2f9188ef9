"""Objectives that tell images apart by contrast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from synfarm_trainer.config.checks import later, need
from synfarm_trainer.config.data import DataConfig, MaskConfig
from synfarm_trainer.config.model import ModelConfig
from synfarm_trainer.config.objectives.heads import ProjectedConfig

__all__ = ["ContrastiveConfig", "MocoV3Config", "SimclrConfig", "StablerepConfig", "SynclrConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SynclrConfig(ProjectedConfig):
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
    train_gain: bool = later(True)
    """Whether the prototypes' gains are learned, as in the release; else they stay 1 (DINO's ``norm_last_layer``)."""
    student_temperature: float = 0.1
    """Of the masked patches' predictions."""
    teacher_temperature_start: float = 0.04
    teacher_temperature: float = 0.07
    """Of the masked patches' targets, reached linearly in the next field's steps."""
    teacher_temperature_steps: int = 4000
    sinkhorn_rounds: int = 3
    last_layer_frozen: float = later(0.0)
    """Share of the run during whose first steps the prototypes stand still. Paper and release: none; DINO: 0.01."""

    @property
    def uses_masks(self) -> bool:
        return self.ibot_weight > 0

    @property
    def uses_local_crops(self) -> bool:
        return self.local_weight > 0

    @property
    def least_views(self) -> int:
        return 2

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
        need(0 <= self.last_layer_frozen < 1, "objective.last_layer_frozen", "is a share of the run, in [0, 1)")


@dataclass(frozen=True, slots=True, kw_only=True)
class ContrastiveConfig(ProjectedConfig):
    """Contrast among all crops of the batch, every feature with its gradient (method sections 3.5 and 4.1)."""

    temperature: float = 0.1
    head_hidden: int = 4096
    head_out: int = 256

    def __post_init__(self) -> None:
        need(self.temperature > 0, "objective.temperature", "must be positive")
        need(self.head_hidden >= 1, "objective.head_hidden", "must be at least 1")
        need(self.head_out >= 2, "objective.head_out", "must be at least 2")


@dataclass(frozen=True, slots=True, kw_only=True)
class StablerepConfig(ContrastiveConfig):
    """StableRep: crops of all images of a caption are positives. The first row of the paper's table 4."""

    name: Literal["stablerep"] = "stablerep"

    @property
    def least_views(self) -> int:
        return 2


@dataclass(frozen=True, slots=True, kw_only=True)
class SimclrConfig(ContrastiveConfig):
    """SimCLR: crops of one image are positives. A row of the paper's table 5."""

    name: Literal["simclr"] = "simclr"

    @property
    def least_crops(self) -> int:
        return 2


@dataclass(frozen=True, slots=True, kw_only=True)
class MocoV3Config(ProjectedConfig):
    """MoCo v3 (Chen, Xie and He 2021): a crop finds its image's other crop among the teacher's keys of the batch.

    Each image is a class of its own; other images of its caption are negatives. Defaults are the paper's for ViTs, but
    heads have LayerNorm and GELU where it has ``head_norm`` batch. Of other sections it has ``ema.start`` 0.99,
    ``optim.weight_decay`` 0.1 throughout.
    """

    name: Literal["moco_v3"] = "moco_v3"
    temperature: float = 0.2
    head_hidden: int = 4096
    head_out: int = 256
    freeze_patches: bool = True
    """Whether the patch projection stays as it was drawn, for stability (paper, section 4)."""

    @property
    def least_crops(self) -> int:
        return 2

    def __post_init__(self) -> None:
        need(self.temperature > 0, "objective.temperature", "must be positive")
        need(self.head_hidden >= 1, "objective.head_hidden", "must be at least 1")
        need(self.head_out >= 2, "objective.head_out", "must be at least 2")

    def check(self, data: DataConfig, mask: MaskConfig, model: ModelConfig) -> None:
        need(data.crops == 2, "data.crops", "moco_v3 compares two crops of an image with each other; set it to 2")
