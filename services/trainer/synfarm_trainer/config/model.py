"""The backbone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from synfarm_trainer.config.checks import later, need
from synfarm_trainer.config.initial import parse_initial

__all__ = ["ModelConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """A plain pre-norm ViT with learned positions and a class token (method section 3.3).

    Or a ViT of timm by its name, which settles the sizes below and whatever else timm's model of that name has:
    register tokens, layer scales.
    """

    timm: str = later("")
    """Name of a ViT in timm, as ``vit_base_patch14_reg4_dinov2``, without its weights; empty for the plain one."""
    positions: Literal["resample", "release"] = later("resample")
    """On crops of another size. ``resample``: timm's, to the grid's size. ``release``: by a scale factor with an
    offset, as in SynCLR's release (method section 3.3)."""
    patch: int = 16
    width: int = 768
    depth: int = 12
    heads: int = 12
    mlp_ratio: float = 4.0
    drop_path: float = 0.1
    """Stochastic depth of the student's last block; earlier blocks rise to it linearly from 0."""
    init_std: float = 0.02
    """Of linear weights: 0.02 for the paper's widths; a narrow network needs about 1 / sqrt(width) to get going."""
    init_from: str = later("")
    """Weights of the backbone at the first step: ``run:<run>`` for an own run's export, ``run:<run>@<step>`` for its
    checkpoint, ``store:weights/<name>.safetensors`` or a run's file, ``timm:<model name>`` for pretrained ones; empty
    for those of the run's seed. Only shapes are compared: ``model.heads`` must be that of the weights."""

    def __post_init__(self) -> None:
        for name in ("patch", "width", "depth", "heads"):
            need(getattr(self, name) >= 1, f"model.{name}", "must be at least 1")
        need(self.width % self.heads == 0, "model.heads", f"must divide model.width ({self.width})")
        need(0 <= self.drop_path < 1, "model.drop_path", "must be in [0, 1)")
        need(self.mlp_ratio > 0, "model.mlp_ratio", "must be positive")
        need(0 < self.init_std <= 1, "model.init_std", "must be in (0, 1]")
        parse_initial(self.init_from)
