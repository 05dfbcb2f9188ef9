"""From a configuration to its objective: the one place that knows them all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from synfarm_trainer.config import TrainConfig
from synfarm_trainer.objectives.clip import build_clip
from synfarm_trainer.objectives.dino import build_dino
from synfarm_trainer.objectives.dinov2 import build_dinov2
from synfarm_trainer.objectives.ibot import build_ibot
from synfarm_trainer.objectives.mae import build_mae
from synfarm_trainer.objectives.moco_v3 import build_moco_v3
from synfarm_trainer.objectives.protocol import Objective
from synfarm_trainer.objectives.simclr import build_simclr
from synfarm_trainer.objectives.stablerep import build_stablerep
from synfarm_trainer.objectives.supce import build_supce
from synfarm_trainer.objectives.synclr import build_synclr

__all__ = ["build_objective"]

_BUILDERS: Mapping[str, Callable[[TrainConfig, int, int], Objective]] = MappingProxyType(
    {
        "synclr": build_synclr,
        "stablerep": build_stablerep,
        "simclr": build_simclr,
        "supce": build_supce,
        "moco_v3": build_moco_v3,
        "mae": build_mae,
        "dino": build_dino,
        "ibot": build_ibot,
        "dinov2": build_dinov2,
        "clip": build_clip,
    }
)


def build_objective(config: TrainConfig, seed: int, *, concepts: int) -> Objective:
    """The networks as they are before the first step, a pure function of configuration and seed.

    Args:
        concepts: of the dataset; classes of a supervised objective.
    """
    return _BUILDERS[config.objective.name](config, seed, concepts)
