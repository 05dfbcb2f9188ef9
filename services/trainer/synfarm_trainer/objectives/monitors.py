"""Numbers that tell a collapse before the losses do."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["spread", "use"]


def spread(rows: Tensor) -> float:
    """Of unit vectors (n, d): near 1 when they fill the sphere, 0 when they have collapsed to one point."""
    return float(rows.std(dim=0, correction=0).mean()) * math.sqrt(rows.shape[1])


def use(share: Tensor) -> float:
    """Of the mean (K,) of targets: 1 when all prototypes are used alike, 0 when all targets name the same one."""
    return float(torch.special.entr(share).sum()) / math.log(len(share))
