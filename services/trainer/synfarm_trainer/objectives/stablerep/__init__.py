"""StableRep: contrast among all images, those of a caption positive (method section 3.5; its paper, section 3)."""

from __future__ import annotations

from functools import partial

from synfarm_trainer.config import StablerepConfig, TrainConfig
from synfarm_trainer.objectives.batch import TensorBatch
from synfarm_trainer.objectives.live_keys import accumulate_contrast
from synfarm_trainer.objectives.projected import ProjectedStudent, build_student
from synfarm_trainer.objectives.protocol import Objective, StepTerms
from synfarm_trainer.objectives.statistics import among_of
from synfarm_trainer.objectives.student_only import StudentOnly
from synfarm_trainer.objectives.term_gradients import TermGradients
from synfarm_trainer.ranks import Ranks

__all__ = ["build_stablerep"]


class Stablerep(StudentOnly[ProjectedStudent]):
    """No teacher: features meet the features of all ranks, each with its gradient."""

    def __init__(self, config: StablerepConfig, student: ProjectedStudent) -> None:
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
        embed = partial(self.student.embed, among=among_of(self._config, batch, ranks, micro_crops))
        return accumulate_contrast(
            embed,
            batch,
            batch.labels,
            ranks,
            temperature=self._config.temperature,
            micro_crops=micro_crops,
        )


def build_stablerep(config: TrainConfig, seed: int, concepts: int) -> Objective:
    assert isinstance(config.objective, StablerepConfig)
    return Stablerep(config.objective, build_student(config, config.objective, seed))
