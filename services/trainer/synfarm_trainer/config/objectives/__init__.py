"""What trains the networks: one section an objective, chosen by its name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from synfarm_trainer.config.objectives.base import SIZES, ObjectiveConfig
from synfarm_trainer.config.objectives.contrastive import (
    ContrastiveConfig,
    MocoV3Config,
    SimclrConfig,
    StablerepConfig,
    SynclrConfig,
)
from synfarm_trainer.config.objectives.heads import ProjectedConfig
from synfarm_trainer.config.objectives.mae import MaeConfig
from synfarm_trainer.config.objectives.prototypes import (
    DinoConfig,
    Dinov2Config,
    IbotConfig,
    MaskedPrototypeConfig,
    PrototypeConfig,
)
from synfarm_trainer.config.objectives.supervised import SupceConfig
from synfarm_trainer.config.objectives.texts import ClipConfig

__all__ = [
    "OBJECTIVES",
    "SIZES",
    "ClipConfig",
    "ContrastiveConfig",
    "DinoConfig",
    "Dinov2Config",
    "IbotConfig",
    "MaeConfig",
    "MaskedPrototypeConfig",
    "MocoV3Config",
    "ObjectiveConfig",
    "ProjectedConfig",
    "PrototypeConfig",
    "SimclrConfig",
    "StablerepConfig",
    "SupceConfig",
    "SynclrConfig",
]

OBJECTIVES: Mapping[str, type[ObjectiveConfig]] = MappingProxyType(
    {
        "synclr": SynclrConfig,
        "stablerep": StablerepConfig,
        "simclr": SimclrConfig,
        "supce": SupceConfig,
        "moco_v3": MocoV3Config,
        "mae": MaeConfig,
        "dino": DinoConfig,
        "ibot": IbotConfig,
        "dinov2": Dinov2Config,
        "clip": ClipConfig,
    }
)
"""By name, as the field ``objective.name`` has it."""
