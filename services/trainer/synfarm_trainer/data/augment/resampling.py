"""Antialiased crop and resize of a batch as two matrix products a crop, with Pillow's filters and its rounding."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["resample", "resize_weights", "to_bytes", "to_bytes_up"]


def to_bytes(x: Tensor) -> Tensor:
    """Rounded (halves to even, as numpy does) and clamped to 0 to 255, still of its own type."""
    return x.round().clamp(0, 255)


def to_bytes_up(x: Tensor) -> Tensor:
    """The same with halves rounded up, as Pillow's integer arithmetic does."""
    return (x + 0.5).floor().clamp(0, 255)


def _bicubic(x: Tensor) -> Tensor:
    """Keys' kernel with a = -1/2."""
    x = x.abs()
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x < 1, near, torch.where(x < 2, far, 0.0))


def _bilinear(x: Tensor) -> Tensor:
    return (1 - x.abs()).clamp(min=0)


def resize_weights(low: Tensor, high: Tensor, flip: Tensor, size: int, length: int, *, bilinear: bool) -> Tensor:
    """(n, size, length): from an axis of ``length`` pixels to ``size`` pixels of the stretch from ``low`` to ``high``.

    As Pillow has it, the filter widens with the stretch and sees what lies beside it in the image.

    Args:
        low, high: (n,) in pixels.
        flip: (n,) bool; the result runs backwards.
    """
    scale = ((high - low) / size)[:, None]
    wide = scale.clamp(min=1)
    place = torch.arange(size, device=low.device, dtype=low.dtype) + 0.5
    centre = low[:, None] + torch.where(flip[:, None], size - place, place) * scale
    pixel = torch.arange(length, device=low.device, dtype=low.dtype) + 0.5
    offset = (pixel - centre[..., None]) / wide[..., None]
    weights = _bilinear(offset) if bilinear else _bicubic(offset)
    return weights / weights.sum(dim=-1, keepdim=True)


def resample(images: Tensor, columns: Tensor, rows: Tensor) -> Tensor:
    """Crops, those of an image adjacent: first along the rows, then along the columns, whole bytes after each.

    Args:
        images: (m, H, W, 3).
        columns: (m * each, size, W).
        rows: (m * each, size, H).

    Returns:
        (m * each, 3, size, size) whole numbers 0 to 255 of the type of ``rows``.
    """
    count, height, width, _ = images.shape
    crops, size, _ = columns.shape
    each = crops // count
    planes = images.permute(0, 3, 1, 2).reshape(count, 3 * height, width).to(rows.dtype)
    narrow = to_bytes_up(planes @ columns.reshape(count, each * size, width).transpose(1, 2))
    narrow = narrow.view(count, 3, height, each, size).permute(0, 3, 2, 1, 4).reshape(crops, height, 3 * size)
    return to_bytes_up(rows @ narrow).view(crops, size, 3, size).permute(0, 2, 1, 3)
