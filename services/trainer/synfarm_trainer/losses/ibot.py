"""The original iBOT objective (Zhou et al. 2022, equations 2 and 3): class tokens across views, patches within one."""

from __future__ import annotations

import torch
from torch import Tensor

from synfarm_trainer.losses.dino import dino_loss
from synfarm_trainer.losses.masked_patches import image_means, masked_patch_loss

__all__ = ["ibot_losses"]


def ibot_losses(
    classes: Tensor, class_targets: Tensor, patches: Tensor, patch_targets: Tensor, masks: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """Both terms of n images, each the mean over its pairs: (V of view v, S of crop s) for s != v, and (v, v).

    An image without masked patches has 0 in the second, and counts. Computed in at least float32.

    Args:
        classes: (S, n, K) logits of the student's class tokens; the V global crops come first, the local ones after.
        class_targets: (V, n, K) of the teacher.
        patches: (V, n, N, P) logits of the student's patch tokens, whose images were masked.
        patch_targets: (V, n, N, P) of the teacher, which saw the images whole.
        masks: (V, n, N) bool.
        temperature: divides the student's logits only.

    Returns:
        (n,) and (n,).
    """
    within = [
        image_means(masked_patch_loss(mine[mask], seen[mask], temperature), mask)
        for mine, seen, mask in zip(patches, patch_targets, masks, strict=True)
    ]
    return dino_loss(classes, class_targets, temperature), torch.stack(within).mean(dim=0)
