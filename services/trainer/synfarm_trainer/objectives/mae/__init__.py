"""MAE: the pixels of hidden patches from the visible ones (He et al. 2022)."""

from __future__ import annotations

from synfarm_trainer.config import MaeConfig, TrainConfig
from synfarm_trainer.models.vit import init_parameters
from synfarm_trainer.objectives.mae.networks import MaeStudent
from synfarm_trainer.objectives.mae.step import Mae
from synfarm_trainer.objectives.protocol import Objective

__all__ = ["build_mae"]


def build_mae(config: TrainConfig, seed: int, concepts: int) -> Objective:
    assert isinstance(config.objective, MaeConfig)
    student = MaeStudent(config, config.objective)
    init_parameters(student, seed, config.model.init_std)
    return Mae(config.objective, student, config.model.patch)
