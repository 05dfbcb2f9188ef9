"""CLIP: images and captions find each other (method section 4.2)."""

from __future__ import annotations

from synfarm_trainer.config import ClipConfig, TrainConfig
from synfarm_trainer.objectives.clip.networks import ClipStudent, initialise
from synfarm_trainer.objectives.clip.step import Clip
from synfarm_trainer.objectives.protocol import Objective

__all__ = ["build_clip"]


def build_clip(config: TrainConfig, seed: int, concepts: int) -> Objective:
    assert isinstance(config.objective, ClipConfig)
    student = ClipStudent(config, config.objective)
    initialise(student, seed, config.model.init_std)
    return Clip(student)
