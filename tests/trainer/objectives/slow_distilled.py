"""DINO, iBOT and their targets from the definitions: the whole batch at once, pair by pair, token by token."""

from __future__ import annotations

from typing import Any, NamedTuple

import slow_prototypes
import torch
from torch import Tensor

from synfarm_trainer.config import TrainConfig
from synfarm_trainer.models.vit import normalise
from synfarm_trainer.objectives.batch import TensorBatch


class Seen(NamedTuple):
    across: Tensor
    """Of class tokens."""
    within: Tensor
    """Of masked patches."""
    class_logits: Tensor
    patch_logits: Tensor
    """Of the teacher; those at the masked places."""
    classes: Tensor
    """(m, width) the student's of the global crops."""


def targets_of(config: TrainConfig, logits: Tensor, center: Tensor | None) -> Tensor:
    if center is not None:
        return ((logits - center) / 0.04).softmax(dim=1)
    return torch.tensor(slow_prototypes.sinkhorn(logits, 0.04, 3), dtype=torch.float64)


def by_definition(config: TrainConfig, batch: TensorBatch, objective: Any) -> Seen:
    """At the teacher's first temperature, 0.04; the student's is 0.1."""
    student, teacher, views = objective.student, objective.teacher, batch.crops
    images = len(batch) // views
    whole, local = normalise(batch.pixels, torch.float64), normalise(batch.local_pixels, torch.float64)
    masks = torch.zeros(len(batch), config.patches, dtype=torch.bool) if batch.masks is None else batch.masks
    with torch.no_grad():
        tokens = teacher.backbone.tokens(whole)
        class_logits, patch_logits = teacher.class_head(tokens[:, 0]), teacher.patch_head(tokens[:, 1:][masks])
        of_classes = targets_of(config, class_logits, teacher.class_center)
        of_patches = targets_of(config, patch_logits, teacher.patch_center) if len(patch_logits) else patch_logits
    tokens = student.backbone.tokens(whole, masks=batch.masks, mask_token=student.mask_token, kept=batch.kept)
    small = student.backbone.tokens(local, kept=batch.local_kept)[:, 0]
    each = len(small) // images

    def by_crop(rows: Tensor, count: int) -> Tensor:
        return torch.stack([rows[torch.arange(images) * count + crop] for crop in range(count)])

    crops = torch.cat([by_crop(student.class_head(tokens[:, 0]), views), by_crop(student.class_head(small), each)])
    across = slow_prototypes.dino(crops, by_crop(of_classes, views), 0.1, views).mean()
    dense = torch.zeros(*masks.shape, of_patches.shape[1], dtype=torch.float64)
    dense[masks] = of_patches
    within = slow_prototypes.ibot_patches(
        by_crop(student.patch_head(tokens[:, 1:]), views), by_crop(dense, views), by_crop(masks, views), 0.1
    ).mean()
    return Seen(across, within, class_logits, patch_logits, tokens[:, 0])
