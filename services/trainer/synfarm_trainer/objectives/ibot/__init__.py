"""iBOT: class tokens across an image's crops, masked patches within a crop (Zhou et al. 2022)."""

from __future__ import annotations

from synfarm_trainer.config import IbotConfig, TrainConfig
from synfarm_trainer.objectives.distilled.networks import build_networks
from synfarm_trainer.objectives.ibot.step import Ibot
from synfarm_trainer.objectives.protocol import Objective

__all__ = ["build_ibot"]


def build_ibot(config: TrainConfig, seed: int, concepts: int) -> Objective:
    assert isinstance(config.objective, IbotConfig)
    return Ibot(config.objective, config.schedule, *build_networks(config, config.objective, seed))
