"""The SynCLR objective: multi-positive contrastive learning against an EMA teacher (paper, equation 4)."""

from __future__ import annotations

from torch import nn

from synfarm_trainer.config import ScheduleConfig, SynclrConfig, TrainConfig
from synfarm_trainer.models.vit import Backbone
from synfarm_trainer.objectives.batch import TensorBatch
from synfarm_trainer.objectives.protocol import Objective, StepTerms
from synfarm_trainer.objectives.synclr.networks import Networks, build_networks
from synfarm_trainer.objectives.synclr.step import accumulate_gradients
from synfarm_trainer.objectives.term_gradients import TermGradients
from synfarm_trainer.ranks import Ranks
from synfarm_trainer.schedules import prototypes_move, teacher_temperature

__all__ = ["Synclr", "build_synclr"]


class Synclr:
    """Teacher first: its targets carry no gradient, so micro-batches add up exactly."""

    def __init__(self, config: SynclrConfig, schedule: ScheduleConfig, networks: Networks) -> None:
        self._config, self._schedule, self.networks = config, schedule, networks

    @property
    def student(self) -> nn.Module:
        return self.networks.student

    @property
    def teacher(self) -> nn.Module:
        return self.networks.teacher

    @property
    def backbone(self) -> Backbone:
        return self.networks.teacher.backbone

    def accumulate_gradients(
        self,
        batch: TensorBatch,
        ranks: Ranks,
        *,
        step: int,
        micro_crops: int,
        separate: TermGradients | None = None,
    ) -> StepTerms:
        temperature = teacher_temperature(step, self._config)
        if self._config.uses_masks:
            move = prototypes_move(step, self._schedule, self._config)
            self.networks.student.patch_head.let_last_layer_move(move)
        terms = accumulate_gradients(
            self.networks,
            batch,
            ranks,
            self._config,
            micro_crops=micro_crops,
            patch_temperature=temperature,
            separate=separate,
        )
        if self._config.uses_masks:
            terms.monitors["teacher_temperature"] = temperature
        return terms

    def after_step(self) -> None:
        """No parameter has bounds."""


def build_synclr(config: TrainConfig, seed: int, concepts: int) -> Objective:
    assert isinstance(config.objective, SynclrConfig)
    return Synclr(config.objective, config.schedule, build_networks(config, seed))
