"""DINO's loss between views (Caron et al. 2021, equation 3), an image at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from synfarm_trainer.losses.precision import precise

__all__ = ["dino_loss"]


def dino_loss(student: Tensor, targets: Tensor, temperature: float, *, shared: int | None = None) -> Tensor:
    """Cross-entropy between the teacher's target for a view and the student's prediction from another crop.

        L = mean over pairs (s, v) of -sum over k of t_vk * log softmax(x_s / t_s)_k

    Over all pairs but those where the crop *is* the view. Computed in at least float32.

    Args:
        student: (S, n, K) logits of S crops of n images.
        targets: (V, n, K) of the teacher's V views, each row a distribution (of
            :func:`~synfarm_trainer.losses.centering.centered` or of Sinkhorn and Knopp); takes no gradient.
        temperature: divides the student's logits only.
        shared: so many of the first crops are the first views, in the same order. All views by default, as where
            global crops come first; 0 where the student's crops are local ones alone.

    Returns:
        (n,) losses.

    Raises:
        ValueError: no pair is left.
    """
    same = len(targets) if shared is None else shared
    pairs = [(s, v) for v in range(len(targets)) for s in range(len(student)) if s != v or s >= same]
    if not pairs:
        raise ValueError("no pair of different views: an image needs a second global crop or a local one")
    predicted = (precise(student) / temperature).log_softmax(dim=-1)
    seen = precise(targets.detach())
    return -torch.stack([(seen[v] * predicted[s]).sum(dim=-1) for s, v in pairs]).mean(dim=0)
