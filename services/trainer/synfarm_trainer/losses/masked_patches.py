"""iBOT's loss on masked patches (method section 3.6), a token at a time."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["entropy", "masked_patch_loss"]


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
    precise = torch.promote_types(logits.dtype, torch.float32)
    predicted = (logits.to(precise) / temperature).log_softmax(dim=1)
    return -(targets.detach().to(precise) * predicted).sum(dim=1)


def entropy(targets: Tensor) -> Tensor:
    """(T, K) distributions to (T,) entropies in nats."""
    found: Tensor = torch.special.entr(targets).sum(dim=1)
    return found
