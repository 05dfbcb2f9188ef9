"""SimCLR: contrast among all crops, those of an image positive (method section 4.1)."""

from __future__ import annotations

from functools import partial

import torch

from synfarm_trainer.config import SimclrConfig, TrainConfig
from synfarm_trainer.objectives.batch import TensorBatch
from synfarm_trainer.objectives.live_keys import accumulate_contrast
from synfarm_trainer.objectives.projected import ProjectedStudent, build_student
from synfarm_trainer.objectives.protocol import Objective, StepTerms
from synfarm_trainer.objectives.statistics import among_of
from synfarm_trainer.objectives.student_only import StudentOnly
from synfarm_trainer.objectives.term_gradients import TermGradients
from synfarm_trainer.ranks import Ranks

__all__ = ["build_simclr"]


class Simclr(StudentOnly[ProjectedStudent]):
    """StableRep's loss with the image as the label: an image's other crops are its only positives."""

    def __init__(self, config: SimclrConfig, student: ProjectedStudent) -> None:
        super().__init__(student)
        self._config = config

    def accumulate_gradients(
        self,
        batch: TensorBatch,
        ranks: Ranks,
        *,
        step: int,
        micro_crops: int,
        separate: TermGradients | None = None,
    ) -> StepTerms:
        start = ranks.rank * len(batch)
        images = torch.arange(start, start + len(batch), device=batch.labels.device) // batch.crops
        embed = partial(self.student.embed, among=among_of(self._config, batch, ranks, micro_crops))
        return accumulate_contrast(
            embed, batch, images, ranks, temperature=self._config.temperature, micro_crops=micro_crops
        )


def build_simclr(config: TrainConfig, seed: int, concepts: int) -> Objective:
    assert isinstance(config.objective, SimclrConfig)
    return Simclr(config.objective, build_student(config, config.objective, seed))
