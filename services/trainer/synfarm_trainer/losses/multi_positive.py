"""The multi-positive contrastive loss (SynCLR paper, equations 1 to 3; method section 3.5)."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["NoPositive", "multi_positive_loss"]


class NoPositive(ValueError):
    """An anchor shares its label with no admissible key, so its target distribution is 0/0."""


def multi_positive_loss(
    anchors: Tensor, keys: Tensor, anchor_labels: Tensor, key_labels: Tensor, own: Tensor, temperature: float
) -> Tensor:
    """Cross-entropy between the uniform distribution over positives and the softmax over keys, an anchor at a time.

    The mean over positives is outside the logarithm. Computed in at least float32.

    Args:
        anchors: (A, D), L2-normalised.
        keys: (M, D), L2-normalised, of the whole global batch; take no gradient unless the caller gives one.
        anchor_labels, key_labels: (A,), (M,) integer labels; equal means positive. Compared anew at every call.
        own: (A,) the key made from the anchor's own crop, left out of positives and candidates; -1 for none.
        temperature: divides the cosines.

    Returns:
        (A,) losses.

    Raises:
        NoPositive: some anchor has no positive left (one image a caption, for instance).
    """
    precise = torch.promote_types(anchors.dtype, torch.float32)
    logits = anchors.to(precise) @ keys.to(precise).T / temperature
    columns = torch.arange(keys.shape[0], device=keys.device)
    left_out = columns == own[:, None]
    positive = (anchor_labels[:, None] == key_labels) & ~left_out
    count = positive.sum(dim=1)
    if not bool((count > 0).all()):
        raise NoPositive(
            "an anchor has no positive but its own crop: a batch needs at least two images of each caption (data.views)"
        )
    log_normaliser = logits.masked_fill(left_out, -torch.inf).logsumexp(dim=1)
    return log_normaliser - (logits * positive).sum(dim=1) / count
