"""One gradient of iBOT, teacher first: exact for the global batch at any number of ranks and micro-batches."""

from __future__ import annotations

from torch import Tensor

from synfarm_trainer.config import IbotConfig, ScheduleConfig
from synfarm_trainer.objectives.batch import TensorBatch
from synfarm_trainer.objectives.distilled.lessons import Lessons
from synfarm_trainer.objectives.distilled.networks import DistilledStudent, DistilledTeacher
from synfarm_trainer.objectives.micro_batches import accumulate_terms
from synfarm_trainer.objectives.protocol import StepTerms
from synfarm_trainer.objectives.taught import Taught
from synfarm_trainer.objectives.term_gradients import TermGradients
from synfarm_trainer.ranks import Ranks
from synfarm_trainer.schedules import prototype_temperature, prototypes_move

__all__ = ["Ibot"]


class Ibot(Taught[DistilledStudent, DistilledTeacher]):
    """Both terms of :func:`~synfarm_trainer.losses.ibot.ibot_losses`, each the mean over the global batch."""

    def __init__(
        self, config: IbotConfig, schedule: ScheduleConfig, student: DistilledStudent, teacher: DistilledTeacher
    ) -> None:
        super().__init__(student, teacher)
        self._config, self._schedule = config, schedule

    def accumulate_gradients(
        self,
        batch: TensorBatch,
        ranks: Ranks,
        *,
        step: int,
        micro_crops: int,
        separate: TermGradients | None = None,
    ) -> StepTerms:
        config, student = self._config, self.student
        student.let_prototypes_move(prototypes_move(step, self._schedule, config))
        parts = batch.parts(micro_crops)
        lessons = Lessons(self.teacher, parts, config, prototype_temperature(step, self._schedule, config), ranks)

        def terms(place: int, part: TensorBatch) -> dict[str, Tensor]:
            return lessons.terms(place, part, student, *student(part))

        weights = {"dino": 1.0, "ibot": config.ibot_weight}
        return StepTerms(accumulate_terms(parts, terms, weights, ranks, separate), weights, lessons.monitors())
