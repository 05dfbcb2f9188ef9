"""What every objective tells of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from synfarm_trainer.config.data import DataConfig, MaskConfig
from synfarm_trainer.config.model import ModelConfig

__all__ = ["SIZES", "ObjectiveConfig"]

SIZES: Mapping[str, str] = MappingProxyType(
    {
        "head_hidden": "projector, hidden",
        "head_out": "projector, output",
        "patch_hidden": "prototypes, hidden",
        "patch_bottleneck": "prototypes, bottleneck",
        "prototype_hidden": "prototypes, hidden",
        "prototype_bottleneck": "prototypes, bottleneck",
        "prototypes": "prototypes",
    }
)
"""Widths that a preset chose for its backbone, by what they are of: they stay when another objective is chosen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectiveConfig:
    """What every objective tells of itself; ``name`` chooses the class."""

    name: str

    @property
    def uses_masks(self) -> bool:
        """Whether patches of global crops are hidden from the student."""
        return False

    @property
    def uses_local_crops(self) -> bool:
        """Whether it looks at small crops."""
        return False

    @property
    def text_context(self) -> int:
        """Tokens of a caption's text that it reads; 0 if it reads none."""
        return 0

    @property
    def uses_texts(self) -> bool:
        """Whether it reads captions."""
        return self.text_context > 0

    @property
    def least_views(self) -> int:
        """Images of a caption that a batch must hold."""
        return 1

    @property
    def least_crops(self) -> int:
        """Global crops of an image that a batch must hold."""
        return 1

    @property
    def needs_whole_share(self) -> bool:
        """Whether a pass must hold the rank's whole share of the batch."""
        return False

    def check(self, data: DataConfig, mask: MaskConfig, model: ModelConfig) -> None:
        """Rules between the objective and other sections; of a wrong one the error names field and cure.

        Raises:
            ValueError: as of :func:`~synfarm_trainer.config.checks.need`.
        """
