"""One gradient of MoCo v3, teacher first: exact for the global batch at any number of ranks and micro-batches."""

from __future__ import annotations

import torch
from torch import Tensor

from synfarm_trainer.config import MocoV3Config
from synfarm_trainer.losses.moco import moco_v3_loss
from synfarm_trainer.objectives.batch import TensorBatch
from synfarm_trainer.objectives.micro_batches import accumulate_terms
from synfarm_trainer.objectives.moco_v3.networks import MocoStudent, MocoTeacher
from synfarm_trainer.objectives.monitors import watched
from synfarm_trainer.objectives.protocol import StepTerms
from synfarm_trainer.objectives.statistics import among_of
from synfarm_trainer.objectives.taught import Taught
from synfarm_trainer.objectives.term_gradients import TermGradients
from synfarm_trainer.ranks import Ranks

__all__ = ["MocoV3"]


class MocoV3(Taught[MocoStudent, MocoTeacher]):
    """The mean over images of :func:`~synfarm_trainer.losses.moco.moco_v3_loss`; keys are gathered once."""

    def __init__(self, config: MocoV3Config, student: MocoStudent, teacher: MocoTeacher) -> None:
        super().__init__(student, teacher)
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
        parts, among = batch.parts(micro_crops), among_of(self._config, batch, ranks, micro_crops)
        with torch.no_grad():
            keys = ranks.gather(torch.cat([self.teacher(part, among) for part in parts]))
        # An image's two crops are adjacent.
        first_keys, second_keys = keys[0::2], keys[1::2]
        images, own = len(first_keys), len(batch) // 2
        image_of = torch.arange(len(keys), device=keys.device) // 2

        def terms(place: int, part: TensorBatch) -> dict[str, Tensor]:
            anchors = self.student(part, among)
            start = ranks.rank * own + place * (micro_crops // 2)
            places = torch.arange(start, start + len(part) // 2, device=keys.device)
            losses = moco_v3_loss(
                anchors[0::2], anchors[1::2], first_keys, second_keys, places, self._config.temperature
            )
            return {"contrastive": losses.sum() / images}

        weights = {"contrastive": 1.0}
        return StepTerms(accumulate_terms(parts, terms, weights, ranks, separate), weights, watched(keys, image_of))
