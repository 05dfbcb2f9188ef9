"""DINOv2: DINO across crops, iBOT within them, KoLeo between images (Oquab et al. 2023)."""

from __future__ import annotations

from synfarm_trainer.config import Dinov2Config, TrainConfig
from synfarm_trainer.objectives.dinov2.step import Dinov2
from synfarm_trainer.objectives.distilled.networks import build_networks
from synfarm_trainer.objectives.protocol import Objective

__all__ = ["build_dinov2"]


def build_dinov2(config: TrainConfig, seed: int, concepts: int) -> Objective:
    assert isinstance(config.objective, Dinov2Config)
    student, teacher = build_networks(config, config.objective, seed)
    group = config.data.cell_captions * config.data.views
    return Dinov2(config.objective, config.schedule, student, teacher, group=group)
