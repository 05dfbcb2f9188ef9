"""Cross-entropy with a known class, for the supervised baseline on the same images (SynCLR paper, table 5)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from synfarm_trainer.losses.precision import precise

__all__ = ["supervised_loss"]


def supervised_loss(logits: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
    """L = -sum over c of ((1 - e) y_c + e / C) log softmax(x)_c: an image at a time, in at least float32.

    The baseline's recipe (AugReg, Steiner et al. 2022) smooths nothing; fine-tuning does, by 0.1 or 0.2 (method
    section 5.3).

    Args:
        logits: (n, C).
        targets: (n,) integer classes, or (n, C) distributions where images were mixed.
        smoothing: e, the share that every class gets.

    Returns:
        (n,) losses.
    """
    hard = targets.ndim == 1
    return functional.cross_entropy(
        precise(logits), targets if hard else precise(targets), reduction="none", label_smoothing=smoothing
    )
