"""One gradient of MAE. Images do not meet each other, so micro-batches add up by themselves."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from synfarm_trainer.config import MaeConfig
from synfarm_trainer.losses.mae import masked_pixel_loss, patch_pixels
from synfarm_trainer.models.vit import normalise
from synfarm_trainer.objectives.batch import TensorBatch
from synfarm_trainer.objectives.mae.networks import MaeStudent
from synfarm_trainer.objectives.micro_batches import accumulate_terms
from synfarm_trainer.objectives.monitors import watched
from synfarm_trainer.objectives.protocol import StepTerms
from synfarm_trainer.objectives.student_only import StudentOnly
from synfarm_trainer.objectives.term_gradients import TermGradients
from synfarm_trainer.ranks import Ranks

__all__ = ["Mae"]


class Mae(StudentOnly[MaeStudent]):
    """The mean over hidden patches of :func:`~synfarm_trainer.losses.mae.masked_pixel_loss`."""

    def __init__(self, config: MaeConfig, student: MaeStudent, patch: int) -> None:
        super().__init__(student)
        self._config, self._patch = config, patch

    def accumulate_gradients(
        self,
        batch: TensorBatch,
        ranks: Ranks,
        *,
        step: int,
        micro_crops: int,
        separate: TermGradients | None = None,
    ) -> StepTerms:
        assert batch.masks is not None
        # Every image hides as many, and every rank has as many images.
        hidden = int(batch.masked.sum()) * ranks.world
        classes = []

        def terms(place: int, part: TensorBatch) -> dict[str, Tensor]:
            places = part.places
            assert places is not None
            images = normalise(part.pixels, self.student.backbone.dtype)
            painted, tokens = self.student(images, part.masked, part.kept)
            classes.append(tokens.detach().clone())
            pixels = patch_pixels(images, self._patch).flatten(0, 1).index_select(0, places)
            losses = masked_pixel_loss(painted, pixels, normalised=self._config.normalise_patches)
            return {"pixels": losses.sum() / hidden}

        weights = {"pixels": 1.0}
        losses = accumulate_terms(batch.parts(micro_crops), terms, weights, ranks, separate)
        monitors = {
            **watched(
                ranks.gather(functional.normalize(torch.cat(classes), dim=-1)), ranks.gather(batch.labels), "class"
            ),
            "mask_share": float(batch.masked.double().mean()),
        }
        return StepTerms(losses, weights, monitors)
