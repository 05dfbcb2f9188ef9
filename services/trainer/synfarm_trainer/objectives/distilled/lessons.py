"""Both things that the teacher says where patches are masked, of class tokens and of patches."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from synfarm_trainer.config import MaskedPrototypeConfig
from synfarm_trainer.models.places import chosen_patches
from synfarm_trainer.objectives.batch import TensorBatch
from synfarm_trainer.objectives.distilled.classes import ClassLesson
from synfarm_trainer.objectives.distilled.networks import DistilledStudent, DistilledTeacher
from synfarm_trainer.objectives.distilled.patches import PatchLesson
from synfarm_trainer.ranks import Ranks

__all__ = ["Lessons"]


class Lessons:
    """One pass of the teacher over a rank's share, and from it both terms of each micro-batch."""

    @torch.no_grad()
    def __init__(
        self,
        teacher: DistilledTeacher,
        parts: Sequence[TensorBatch],
        config: MaskedPrototypeConfig,
        temperature: float,
        ranks: Ranks,
    ) -> None:
        """
        Args:
            parts: the micro-batches, with masks. The teacher's centers are moved for the next batch.
            temperature: of the teacher.
        """
        seen = [teacher(part) for part in parts]
        classes, patches = [own for own, _ in seen], [own for _, own in seen if own is not None]
        self._classes = ClassLesson(teacher.class_head, classes, teacher.class_center, config, temperature, ranks)
        self._patches = PatchLesson(teacher.patch_head, patches, teacher.patch_center, config, temperature, ranks)
        self._each = parts[0].crops
        self._crops = sum(len(part) for part in parts) * ranks.world

    def terms(
        self, place: int, part: TensorBatch, student: DistilledStudent, tokens: Tensor, local: Tensor | None
    ) -> dict[str, Tensor]:
        """Of micro-batch ``place``, divided by the counts of the global batch.

        Args:
            tokens, local: what the student made of it.
        """
        assert part.masks is not None
        places = part.places
        assert places is not None
        head = student.class_head
        across = self._classes.losses(place, head(tokens[:, 0]), None if local is None else head(local), part.crops)
        within = self._patches.losses(place, student.patch_head, chosen_patches(tokens, places), part.masks)
        return {"dino": across.sum() * part.crops / self._crops, "ibot": within.sum() / self._crops}

    def monitors(self) -> dict[str, float]:
        """Once all terms were asked for."""
        return {**self._classes.monitors(self._each), **self._patches.monitors()}
