"""One gradient of CLIP: exact at any memory size, by the features' gradient (see :mod:`..live_keys`)."""

from __future__ import annotations

import torch
from torch import Tensor

from synfarm_trainer.losses.clip import clamp_log_scale, one_way_loss
from synfarm_trainer.objectives.batch import TensorBatch
from synfarm_trainer.objectives.clip.networks import ClipStudent
from synfarm_trainer.objectives.monitors import spread, watched
from synfarm_trainer.objectives.protocol import StepTerms
from synfarm_trainer.objectives.student_only import StudentOnly
from synfarm_trainer.objectives.term_gradients import TermGradients
from synfarm_trainer.ranks import Ranks

__all__ = ["Clip"]


class Clip(StudentOnly[ClipStudent]):
    """Both directions' :func:`~synfarm_trainer.losses.clip.one_way_loss` over the global batch, halved."""

    def accumulate_gradients(
        self,
        batch: TensorBatch,
        ranks: Ranks,
        *,
        step: int,
        micro_crops: int,
        separate: TermGradients | None = None,
    ) -> StepTerms:
        student = self.student
        parts = batch.parts(micro_crops)
        whole = len(parts) == 1
        with torch.set_grad_enabled(whole):  # a single pass keeps its graph: it need not be made again
            passes = [self._embed(part) for part in parts]
        towers = [torch.cat([features.detach() for features in tower]) for tower in zip(*passes, strict=True)]
        images, texts = (ranks.gather(own).requires_grad_() for own in towers)
        captions = len(towers[1])
        of_images, of_texts = batch.labels, batch.labels[:: len(batch) // captions]
        mine = [slice(ranks.rank * len(own), (ranks.rank + 1) * len(own)) for own in towers]
        # This rank's anchors against everyone's features.
        everyones = ranks.gather(of_images)
        rows = one_way_loss(images[mine[0]], texts, of_images, ranks.gather(of_texts), student.log_scale)
        columns = one_way_loss(texts[mine[1]], images, of_texts, everyones, student.log_scale)
        loss = (rows.sum() / len(images) + columns.sum() / len(texts)) / 2
        *sent, of_scale = torch.autograd.grad(loss, (images, texts, student.log_scale))
        # What all ranks' anchors ask of this rank's features; of the scale each rank has its share.
        sizes = [[len(features) for features in tower] for tower in zip(*passes, strict=True)]
        asked = [torch.split(ranks.sum_own(grad), size) for grad, size in zip(sent, sizes, strict=True)]
        for place, gradients in enumerate(zip(*asked, strict=True)):
            roots, last = list(passes[place] if whole else self._embed(parts[place])), place == len(parts) - 1
            # The scale's share goes with the last backward, in which ranks may add up.
            scale = [(student.log_scale.clone(), of_scale)] if last else []
            ranks.backward([*roots, *(s for s, _ in scale)], [*gradients, *(g for _, g in scale)], last=last)
        monitors = {
            **watched(images.detach(), everyones),
            "text_spread": spread(texts.detach()),
            "logit_scale": float(student.log_scale.detach().exp()),
        }
        return StepTerms({"contrastive": loss.detach().double()}, {"contrastive": 1.0}, monitors)

    def after_step(self) -> None:
        clamp_log_scale(self.student.log_scale)

    def _embed(self, part: TensorBatch) -> tuple[Tensor, Tensor]:
        return self.student.embed_images(part), self.student.embed_texts(part)
