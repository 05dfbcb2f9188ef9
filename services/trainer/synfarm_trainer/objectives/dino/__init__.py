"""DINO: a crop's prediction of what the teacher sees in the image's other global crops (Caron et al. 2021)."""

from __future__ import annotations

from synfarm_trainer.config import DinoConfig, TrainConfig
from synfarm_trainer.objectives.dino.step import Dino
from synfarm_trainer.objectives.distilled.networks import build_networks
from synfarm_trainer.objectives.protocol import Objective

__all__ = ["build_dino"]


def build_dino(config: TrainConfig, seed: int, concepts: int) -> Objective:
    assert isinstance(config.objective, DinoConfig)
    return Dino(config.objective, config.schedule, *build_networks(config, config.objective, seed))
