"""Learned positions on a grid of another size than the one that they were learned on (method section 3.3).

timm resamples to the grid's size, with a filter that grows when the grid shrinks, as Pillow does. The release of SynCLR
(and DINO before it) hands the resampler a scale factor instead, of (size / patch + 0.1) / grid, so that it surely
rounds to as many rows and columns; the factor is what places are computed by, so positions end up a little beside
timm's, and the filter does not grow.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["release_positions"]

_OFFSET = 0.1


def release_positions(stored: Tensor, learned: tuple[int, int], wanted: tuple[int, int]) -> Tensor:
    """(1, prefix + patches, width) on the grid ``learned`` to (1, prefix + patches, width) on ``wanted``.

    Both grids are (rows, columns). The release hands over columns first, which turns grids that are not square; here
    rows are first. Tokens before the patches keep their positions. In at least float32.
    """
    if wanted == learned:
        return stored
    rows, columns = learned
    prefix = stored.shape[1] - rows * columns
    exact = stored[:, prefix:].to(torch.promote_types(stored.dtype, torch.float32))
    grid = exact.reshape(1, rows, columns, -1).permute(0, 3, 1, 2)
    factors = [(wanted[0] + _OFFSET) / rows, (wanted[1] + _OFFSET) / columns]
    moved = functional.interpolate(grid, scale_factor=factors, mode="bicubic", align_corners=False)
    assert tuple(moved.shape[2:]) == wanted
    return torch.cat([stored[:, :prefix], moved.permute(0, 2, 3, 1).flatten(1, 2).to(stored.dtype)], dim=1)
