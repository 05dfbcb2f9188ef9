"""MoCo v3's symmetric loss (Chen, Xie and He 2021, section 3 and algorithm 1)."""

from __future__ import annotations

import torch
from torch import Tensor

from synfarm_trainer.losses.contrast_tiles import multi_positive_loss_in_tiles

__all__ = ["moco_v3_loss"]


def moco_v3_loss(
    first: Tensor, second: Tensor, first_keys: Tensor, second_keys: Tensor, own: Tensor, temperature: float = 0.2
) -> Tensor:
    """L = 2 t (CE(q1 . k2 / t) + CE(q2 . k1 / t)): the positive is the image's key of the other view.

    The factor 2 t keeps the size of gradients when the temperature changes. Computed in at least float32.

    Args:
        first, second: (n, D) predictions of the student from the two views, L2-normalised.
        first_keys, second_keys: (N, D) of the teacher from all ranks' two views, L2-normalised; no gradient.
        own: (n,) the place of each image among the keys.

    Returns:
        (n,) losses.
    """
    places, none = torch.arange(len(first_keys), device=own.device), torch.full_like(own, -1)
    across = (
        multi_positive_loss_in_tiles(anchors, keys.detach(), own, places, none, temperature)
        for anchors, keys in ((first, second_keys), (second, first_keys))
    )
    return 2 * temperature * sum(across, start=first.new_zeros(()))
