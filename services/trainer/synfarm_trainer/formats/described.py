"""How timm builds a run's backbone, and what its images must be like: what stands beside the weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import timm

from synfarm_trainer.config import TrainConfig
from synfarm_trainer.models.vit import MEAN, STD, timm_arguments

__all__ = ["Described", "describe"]

_WIDTHS = {192: "tiny", 384: "small", 768: "base", 1024: "large"}


@dataclass(frozen=True, slots=True)
class Described:
    builder: str
    """Name of timm's that builds the class; every size is among the arguments."""
    arguments: dict[str, Any]
    side: int
    width: int
    positions: str
    mean: tuple[float, float, float] = MEAN
    std: tuple[float, float, float] = STD

    @property
    def call(self) -> str:
        """A line of Python that builds the network without weights."""
        given = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())
        return f'timm.create_model("{self.builder}", pretrained=False, {given})'

    def config(self) -> dict[str, Any]:
        """``config.json`` as timm's hub has it; transformers' wrapper of timm names classes and pooling itself."""
        arguments = {name: value for name, value in self.arguments.items() if name != "num_classes"}
        return {
            "architecture": self.builder,
            "num_classes": 0,
            "num_features": self.width,
            "global_pool": "token",
            "model_args": arguments,
            "pretrained_cfg": {
                "custom_load": False,
                "input_size": [3, self.side, self.side],
                "fixed_input_size": False,
                "interpolation": "bicubic",
                "crop_pct": 1.0,
                "crop_mode": "center",
                "mean": list(self.mean),
                "std": list(self.std),
                "num_classes": 0,
                "pool_size": None,
                "first_conv": "patch_embed.proj",
                "classifier": "head",
            },
        }


def describe(config: TrainConfig) -> Described:
    """The builder is the one of about the network's width and patch; it matters as a name alone."""
    wide, patch = _WIDTHS.get(config.model.width, "base"), config.model.patch
    named = f"vit_{wide}_patch{patch}_224"
    builder = named if timm.is_model(named) else f"vit_{wide}_patch16_224"
    arguments = timm_arguments(config.model, config.augment.size)
    return Described(builder, arguments, config.augment.size, config.model.width, config.model.positions)
