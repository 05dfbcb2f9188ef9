"""iBOT's loss on masked patches (method section 3.6), a token at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from synfarm_trainer.losses.precision import precise

__all__ = ["entropy", "image_means", "masked_patch_loss"]


def masked_patch_loss(logits: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """Cross-entropy between the teacher's assignment and the student's prediction, in at least float32.

    The caller divides by the masked tokens of each image and by the masked images of the *global* batch.

    Args:
        logits: (T, K) of the student at the masked positions.
        targets: (T, K), each row a distribution; takes no gradient.
        temperature: divides the student's logits only.

    Returns:
        (T,) losses.
    """
    predicted = (precise(logits) / temperature).log_softmax(dim=1)
    return -(precise(targets.detach()) * predicted).sum(dim=1)


def image_means(losses: Tensor, masks: Tensor) -> Tensor:
    """The mean over each image's masked tokens, counted as they are and not as they were asked for; 0 without any.

    What their sum is divided by is the caller's choice: SynCLR takes the images that have masks, DINOv2 and iBOT all.

    Args:
        losses: (T,), image by image as the masks are read.
        masks: (n, patches) bool, T of them true.

    Returns:
        (n,) means.
    """
    dense = losses.new_zeros(masks.shape).masked_scatter(masks, losses)
    return dense.sum(dim=1) / masks.sum(dim=1).clamp(min=1)


def entropy(targets: Tensor) -> Tensor:
    """(T, K) distributions to (T,) entropies in nats."""
    found: Tensor = torch.special.entr(targets).sum(dim=1)
    return found
