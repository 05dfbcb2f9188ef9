"""The objective that paints what it does not see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from synfarm_trainer.config.checks import need
from synfarm_trainer.config.data import DataConfig, MaskConfig
from synfarm_trainer.config.model import ModelConfig
from synfarm_trainer.config.objectives.base import ObjectiveConfig

__all__ = ["MaeConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MaeConfig(ObjectiveConfig):
    """MAE (He et al. 2022): the pixels of hidden patches from the visible ones.

    Defaults are the paper's (section 4.1). It hides three quarters of every image: ``mask.images`` 1, ``mask.ratio``
    [0.75, 0.75]. Of other sections it has ``optim.beta2`` 0.95, ``optim.weight_decay`` 0.05 throughout, crops of scale
    0.2 to 1 and flips, no colours. Positions are learned here, sines there.
    """

    name: Literal["mae"] = "mae"
    decoder_width: int = 0
    """0 for the paper's 512, or the backbone's width if that is smaller."""
    decoder_depth: int = 8
    decoder_heads: int = 0
    """0 for heads of width 32, as in the paper."""
    normalise_patches: bool = True
    """Whether the target is a patch's pixels less their mean, over their deviation."""

    @property
    def uses_masks(self) -> bool:
        return True

    def decoder_size(self, model: ModelConfig) -> tuple[int, int]:
        """Width and heads of the decoder."""
        width = self.decoder_width or min(512, model.width)
        return width, self.decoder_heads or max(1, width // 32)

    def __post_init__(self) -> None:
        for name in ("decoder_width", "decoder_heads"):
            need(getattr(self, name) >= 0, f"objective.{name}", "must not be negative")
        need(self.decoder_depth >= 1, "objective.decoder_depth", "must be at least 1")

    def check(self, data: DataConfig, mask: MaskConfig, model: ModelConfig) -> None:
        need(mask.images == 1, "mask.images", "mae hides patches of every image; set it to 1")
        low, high = mask.ratio
        cure = "set both ends of it alike, to 0.75 in the paper"
        need(low == high, "mask.ratio", f"mae hides as many patches of every image; {cure}")
        need(high < 1, "mask.ratio", f"mae sees a part of every image; {cure}")
        width, heads = self.decoder_size(model)
        need(width % heads == 0, "objective.decoder_heads", f"{heads} must divide the decoder's width, {width}; set it")
