"""One gradient of DINO, teacher first: exact for the global batch at any number of ranks and micro-batches."""

from __future__ import annotations

import torch
from torch import Tensor

from synfarm_trainer.config import DinoConfig, ScheduleConfig
from synfarm_trainer.objectives.batch import TensorBatch
from synfarm_trainer.objectives.distilled.classes import ClassLesson
from synfarm_trainer.objectives.distilled.networks import DistilledStudent, DistilledTeacher
from synfarm_trainer.objectives.micro_batches import accumulate_terms
from synfarm_trainer.objectives.protocol import StepTerms
from synfarm_trainer.objectives.taught import Taught
from synfarm_trainer.objectives.term_gradients import TermGradients
from synfarm_trainer.ranks import Ranks
from synfarm_trainer.schedules import prototype_temperature, prototypes_move

__all__ = ["Dino"]


class Dino(Taught[DistilledStudent, DistilledTeacher]):
    """The mean over images of :func:`~synfarm_trainer.losses.dino.dino_loss`, all pairs of different crops."""

    def __init__(
        self, config: DinoConfig, schedule: ScheduleConfig, student: DistilledStudent, teacher: DistilledTeacher
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
        config, student, teacher = self._config, self.student, self.teacher
        student.let_prototypes_move(prototypes_move(step, self._schedule, config))
        parts = batch.parts(micro_crops)
        with torch.no_grad():
            seen = [teacher(part)[0] for part in parts]
        temperature = prototype_temperature(step, self._schedule, config)
        lesson = ClassLesson(teacher.class_head, seen, teacher.class_center, config, temperature, ranks)
        images = len(batch) // batch.crops * ranks.world

        def terms(place: int, part: TensorBatch) -> dict[str, Tensor]:
            tokens, local = student(part)
            head = student.class_head
            losses = lesson.losses(place, head(tokens[:, 0]), None if local is None else head(local), part.crops)
            return {"dino": losses.sum() / images}

        weights = {"dino": 1.0}
        losses = accumulate_terms(parts, terms, weights, ranks, separate)
        return StepTerms(losses, weights, lesson.monitors(batch.crops))
