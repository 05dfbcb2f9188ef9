"""The objective that is told an image's caption."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from synfarm_trainer.config.checks import need
from synfarm_trainer.config.data import DataConfig, MaskConfig
from synfarm_trainer.config.model import ModelConfig
from synfarm_trainer.config.objectives.base import ObjectiveConfig

__all__ = ["ClipConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipConfig(ObjectiveConfig):
    """CLIP (Radford et al. 2021): an image finds its caption in the batch, a caption its images. A row of table 10.

    Defaults are those of StableRep's release but for tokens, which are bytes (there 77 of 49,408 words' parts). The
    paper draws one image of a caption anew in each epoch: ``data.views`` 1. With more of them a caption's targets are
    uniform over its crops. Captions of the same words are different captions.
    """

    name: Literal["clip"] = "clip"
    joint_width: int = 512
    """Of the space in which images and texts meet."""
    text_width: int = 0
    """0 for the release's 512, or the backbone's width if that is smaller."""
    text_depth: int = 12
    text_heads: int = 0
    """0 for heads of width 64, as in the release."""
    context: int = 128
    """Tokens of a text, begin and end among them; longer ones are cut."""

    @property
    def text_context(self) -> int:
        return self.context

    def text_size(self, model: ModelConfig) -> tuple[int, int]:
        """Width and heads of the text tower."""
        width = self.text_width or min(512, model.width)
        return width, self.text_heads or max(1, width // 64)

    def __post_init__(self) -> None:
        for name in ("text_width", "text_heads"):
            need(getattr(self, name) >= 0, f"objective.{name}", "must not be negative")
        need(self.text_depth >= 1, "objective.text_depth", "must be at least 1")
        need(self.joint_width >= 2, "objective.joint_width", "must be at least 2")
        need(self.context >= 3, "objective.context", "must be at least 3: begin, a byte, end")

    def check(self, data: DataConfig, mask: MaskConfig, model: ModelConfig) -> None:
        width, heads = self.text_size(model)
        need(width % heads == 0, "objective.text_heads", f"{heads} must divide the text tower's width, {width}; set it")
