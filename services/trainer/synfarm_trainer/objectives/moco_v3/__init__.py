"""MoCo v3: a crop finds its image's other crop among the teacher's keys (Chen, Xie and He 2021)."""

from __future__ import annotations

from synfarm_trainer.config import MocoV3Config, TrainConfig
from synfarm_trainer.objectives.moco_v3.networks import build_networks
from synfarm_trainer.objectives.moco_v3.step import MocoV3
from synfarm_trainer.objectives.protocol import Objective

__all__ = ["build_moco_v3"]


def build_moco_v3(config: TrainConfig, seed: int, concepts: int) -> Objective:
    assert isinstance(config.objective, MocoV3Config)
    return MocoV3(config.objective, *build_networks(config, config.objective, seed))
