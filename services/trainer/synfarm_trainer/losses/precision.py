"""At least float32, whatever comes in and whatever autocast would make of it."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["exact_products", "precise"]


def precise(values: Tensor) -> Tensor:
    """``values`` in at least float32."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def exact_products(values: Tensor) -> torch.autocast:
    """A region in which matrix products on the device of ``values`` keep their inputs' precision.

    In a region of autocast the product of two float32 matrices is of half precision: cosines divided by 0.08 would be
    wrong in the second decimal.
    """
    return torch.autocast(values.device.type, enabled=False)
