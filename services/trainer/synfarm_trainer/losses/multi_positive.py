"""The multi-positive contrastive loss (SynCLR paper, equations 1 to 3; method section 3.5)."""

from __future__ import annotations

import torch
from torch import Tensor

from synfarm_trainer.losses.precision import exact_products, precise

__all__ = ["NoPositive", "multi_positive_loss"]


class NoPositive(ValueError):
    """An anchor shares its label with no admissible key, so its target distribution is 0/0."""

    def __init__(self) -> None:
        super().__init__(
            "an anchor has no positive but its own crop: a batch needs at least two images of each caption (data.views)"
        )


def multi_positive_loss(
    anchors: Tensor, keys: Tensor, anchor_labels: Tensor, key_labels: Tensor, own: Tensor, temperature: float | Tensor
) -> Tensor:
    """Cross-entropy between the uniform distribution over positives and the softmax over keys, an anchor at a time.

        L(a) = -mean over positives i of log(exp(a . k_i / t) / sum over admissible j of exp(a . k_j / t))

    The mean over positives is outside the logarithm. Computed in at least float32, also in a region of autocast.
    SynCLR: anchors of the student, keys of the teacher without gradient. StableRep (Tian et al. 2023, equations 2 and
    3): the features of all ranks are anchors and keys, both with their gradient. SimCLR (Chen et al. 2020, equation 1):
    the same, and the label is the image.

    Args:
        anchors: (A, D), L2-normalised.
        keys: (M, D), L2-normalised, of the whole global batch; take no gradient unless the caller gives one.
        anchor_labels, key_labels: (A,), (M,) integer labels; equal means positive. Compared anew at every call.
        own: (A,) the key made from the anchor's own crop, left out of positives and candidates; -1 for none.
        temperature: divides the cosines; as a tensor without axes it may take a gradient.

    Returns:
        (A,) losses.

    Raises:
        NoPositive: some anchor has no positive left (one image a caption, for instance).
    """
    with exact_products(anchors):
        logits = precise(anchors) @ precise(keys).T / temperature
    columns = torch.arange(keys.shape[0], device=keys.device)
    left_out = columns == own[:, None]
    positive = (anchor_labels[:, None] == key_labels) & ~left_out
    count = positive.sum(dim=1)
    if not bool((count > 0).all()):
        raise NoPositive
    log_normaliser = logits.masked_fill(left_out, -torch.inf).logsumexp(dim=1)
    return log_normaliser - (logits * positive).sum(dim=1) / count
