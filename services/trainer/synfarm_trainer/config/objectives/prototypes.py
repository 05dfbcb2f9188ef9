"""Objectives in which the student names the prototypes that its teacher saw (method section 4.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from synfarm_trainer.config.checks import need
from synfarm_trainer.config.data import DataConfig, MaskConfig
from synfarm_trainer.config.model import ModelConfig
from synfarm_trainer.config.objectives.base import ObjectiveConfig

__all__ = ["DinoConfig", "Dinov2Config", "IbotConfig", "MaskedPrototypeConfig", "PrototypeConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PrototypeConfig(ObjectiveConfig):
    """What DINO, iBOT and DINOv2 share. Views are crops of one image, as in their papers: ``data.crops``.

    The other images of a caption are other images: each has a loss of its own, and they meet in centers or Sinkhorn
    only. Epochs of the papers are shares of the run here, of the 100 epochs that their code has as the default.
    """

    prototypes: int = 65_536
    prototype_hidden: int = 2048
    prototype_bottleneck: int = 256
    train_gain: bool = False
    """Whether prototypes have gains that are learned; else their length stays 1."""
    last_layer_frozen: float = 0.01
    """Share of the run during whose first steps the prototypes stand still (1 epoch of 100)."""
    student_temperature: float = 0.1
    teacher_temperature_start: float = 0.04
    teacher_temperature: float = 0.07
    """Of the targets, reached linearly in the next field's share of the run (30 epochs of 100)."""
    teacher_temperature_warmup: float = 0.3
    targets: Literal["centering", "sinkhorn"] = "centering"
    """``centering``: the teacher's logits less their moving average. ``sinkhorn``: all prototypes used alike."""
    center_momentum: float = 0.9
    sinkhorn_rounds: int = 3

    @property
    def uses_local_crops(self) -> bool:
        return True

    @property
    def least_crops(self) -> int:
        return 2

    def __post_init__(self) -> None:
        for name in ("student_temperature", "teacher_temperature", "teacher_temperature_start"):
            need(getattr(self, name) > 0, f"objective.{name}", "must be positive")
        for name in ("prototype_hidden", "sinkhorn_rounds"):
            need(getattr(self, name) >= 1, f"objective.{name}", "must be at least 1")
        for name in ("prototype_bottleneck", "prototypes"):
            need(getattr(self, name) >= 2, f"objective.{name}", "must be at least 2")
        for name in ("last_layer_frozen", "teacher_temperature_warmup"):
            need(0 <= getattr(self, name) < 1, f"objective.{name}", "is a share of the run, in [0, 1)")
        need(0 <= self.center_momentum < 1, "objective.center_momentum", "must be in [0, 1)")


@dataclass(frozen=True, slots=True, kw_only=True)
class DinoConfig(PrototypeConfig):
    """DINO (Caron et al. 2021): a crop's prediction of what the teacher sees in the image's other global crops.

    Defaults are its release's. Of other sections it has ``ema.start`` 0.996, ``optim.weight_decay`` 0.04 to 0.4,
    ``optim.clip_norm`` 3, ``local_crops.count`` 8 to 10.
    """

    name: Literal["dino"] = "dino"


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedPrototypeConfig(PrototypeConfig):
    """What iBOT and DINOv2 add: patches hidden from the student, of which it names the prototype too.

    Their papers hide blocks of a tenth to a half of every second crop: ``mask.images`` 0.5, ``mask.ratio`` [0.1, 0.5],
    ``mask.shape`` blocks. The term is the mean over *all* global crops, where those without masks have 0 (SynCLR's is
    over the masked ones).
    """

    ibot_weight: float = 1.0
    """Of the masked patches beside the class tokens, which have 1."""
    separate_heads: bool = False
    """Whether patches have a head of their own, of the same widths as that of class tokens."""

    @property
    def uses_masks(self) -> bool:
        return True

    def __post_init__(self) -> None:
        PrototypeConfig.__post_init__(self)
        need(self.ibot_weight > 0, "objective.ibot_weight", "must be positive; without masked patches this is dino")


@dataclass(frozen=True, slots=True, kw_only=True)
class IbotConfig(MaskedPrototypeConfig):
    """iBOT (Zhou et al. 2022): DINO's class tokens across crops, masked patches within a crop, one head for both.

    Defaults are its release's. Centers of patches are those of masked ones, which alone are targets (its release's are
    of all). Of other sections it has ``ema.start`` 0.996, ``optim.weight_decay`` 0.04 to 0.4, ``optim.clip_norm`` 3,
    ``local_crops.count`` 10.
    """

    name: Literal["ibot"] = "ibot"
    prototypes: int = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class Dinov2Config(MaskedPrototypeConfig):
    """DINOv2 (Oquab et al. 2023): DINO and iBOT with heads apart and Sinkhorn's targets, and KoLeo.

    Defaults are those of its paper's large models, the number of prototypes that of its code (131,072 for ViT-L). Of
    other sections it has ``ema.start`` 0.992 (0.994), ``optim.weight_decay`` 0.04 to 0.4 (0.2), ``optim.clip_norm`` 3,
    ``local_crops.count`` 8, ``optim.layer_decay`` 0.9, ``optim.patch_embed_scale`` 0.2.
    """

    name: Literal["dinov2"] = "dinov2"
    train_gain: bool = True
    separate_heads: bool = True
    targets: Literal["centering", "sinkhorn"] = "sinkhorn"
    koleo_weight: float = 0.1
    """Of KoLeo, the sum over an image's global crops; 0 for none. A crop's neighbour is looked for among the crops of
    the same number of the other images of its cell (``data.cell_captions``): the same ones at any number of ranks and
    micro-batches. The paper's groups are the images of a GPU."""

    def __post_init__(self) -> None:
        MaskedPrototypeConfig.__post_init__(self)
        need(self.koleo_weight >= 0, "objective.koleo_weight", "must not be negative")

    def check(self, data: DataConfig, mask: MaskConfig, model: ModelConfig) -> None:
        need(
            not self.koleo_weight or data.cell_captions * data.views >= 2,
            "data.cell_captions",
            "KoLeo looks for an image's neighbour in its cell, which has one image; raise it to 2 or more, or set "
            "objective.koleo_weight to 0",
        )
