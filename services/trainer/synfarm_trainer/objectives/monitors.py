"""Numbers that tell a collapse before the losses do."""

from __future__ import annotations

import math

from torch import Tensor

__all__ = ["spread"]


def spread(rows: Tensor) -> float:
    """Of unit vectors (n, d): near 1 when they fill the sphere, 0 when they have collapsed to one point."""
    return float(rows.std(dim=0, correction=0).mean()) * math.sqrt(rows.shape[1])
