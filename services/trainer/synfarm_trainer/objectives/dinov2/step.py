"""One gradient of DINOv2, teacher first: exact for the global batch at any number of ranks and micro-batches."""

from __future__ import annotations

from torch import Tensor

from synfarm_trainer.config import Dinov2Config, ScheduleConfig
from synfarm_trainer.objectives.batch import TensorBatch
from synfarm_trainer.objectives.dinov2.cells import koleo_in_cells
from synfarm_trainer.objectives.distilled.lessons import Lessons
from synfarm_trainer.objectives.distilled.networks import DistilledStudent, DistilledTeacher
from synfarm_trainer.objectives.micro_batches import accumulate_terms
from synfarm_trainer.objectives.protocol import StepTerms
from synfarm_trainer.objectives.taught import Taught
from synfarm_trainer.objectives.term_gradients import TermGradients
from synfarm_trainer.ranks import Ranks
from synfarm_trainer.schedules import prototype_temperature, prototypes_move

__all__ = ["Dinov2"]


class Dinov2(Taught[DistilledStudent, DistilledTeacher]):
    """iBOT's two terms, and KoLeo of the student's class tokens before the head."""

    def __init__(
        self,
        config: Dinov2Config,
        schedule: ScheduleConfig,
        student: DistilledStudent,
        teacher: DistilledTeacher,
        *,
        group: int,
    ) -> None:
        """``group``: images of a cell, among which KoLeo looks for neighbours."""
        super().__init__(student, teacher)
        self._config, self._schedule, self._group = config, schedule, group

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
        temperature = prototype_temperature(step, self._schedule, config)
        lessons = Lessons(self.teacher, parts, config, temperature, ranks)
        images = len(batch) // batch.crops * ranks.world

        def terms(place: int, part: TensorBatch) -> dict[str, Tensor]:
            tokens, local = student(part)
            found = lessons.terms(place, part, student, tokens, local)
            if config.koleo_weight:
                # The mean over images, the sum over an image's crops: as published.
                found["koleo"] = koleo_in_cells(tokens[:, 0], part.crops, self._group).sum() / images
            return found

        weights = {"dino": 1.0, "ibot": config.ibot_weight}
        if config.koleo_weight:
            weights["koleo"] = config.koleo_weight
        return StepTerms(accumulate_terms(parts, terms, weights, ranks, separate), weights, lessons.monitors())
