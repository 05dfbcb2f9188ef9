"""Where masked patches lie when they are no scattered ones: one block, or several as in BEiT.

Both give each patch a rank; whoever masks takes an image's lowest ranks, so that counts are exact. What is drawn is
drawn by keyed hash of the crop alone. Heights, widths and places are in patches.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from synfarm.contracts.randomness import uniform
from synfarm_trainer.data.cropids import CropIds, Epoch

__all__ = ["LEAST", "TRIES", "WIDEST", "distance_from_centre", "outside_blocks"]

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
WIDEST = 1 / 0.3
"""Largest aspect ratio of a block, as in BEiT."""
LEAST = 4
"""Patches of the smallest of several blocks, as in DINOv2 (BEiT, whose images have 196 patches, has 16)."""
TRIES = 32
"""Blocks that are tried for an image. BEiT gives up after ten in a row that do not fit."""


def distance_from_centre(ids: CropIds, key: int, epoch: Epoch, grid: int) -> NDArray[np.float64]:
    """(N, grid * grid): of each patch from a drawn centre, in a maximum norm of drawn aspect.

    The nearest patches make one rectangle, cut by the image's border.
    """
    row, column, shape = (uniform(ids.word(key, epoch, part))[:, None] for part in (2, 3, 4))
    stretch = np.exp((2 * shape - 1) * np.log(WIDEST) / 2)
    y, x = (axis.reshape(1, -1) + 0.5 for axis in np.indices((grid, grid)))
    distance: NDArray[np.float64] = np.maximum(np.abs(y - row * grid) * stretch, np.abs(x - column * grid) / stretch)
    return distance


def outside_blocks(ids: CropIds, key: int, epoch: Epoch, grid: int, amount: Ints) -> Bools:
    """(N, grid * grid): is the patch in none of the image's blocks? At most ``amount`` (N,) are in some.

    As BEiT and DINOv2 do it: area between :data:`LEAST` and what is still wanted, aspect between 0.3 and its inverse
    on a logarithmic scale; a block is taken if it brings something new and no more than is wanted. When no more fits,
    a few patches may be wanting: BEiT leaves it at that.
    """
    drawn = uniform(ids.word(key, epoch, 6, np.arange(TRIES)[:, None], np.arange(4)))
    covered = np.zeros((len(ids), grid, grid), dtype=np.bool_)
    line = np.arange(grid)
    for area_of, shape, row, column in drawn.transpose(1, 2, 0):
        wanted = amount - covered.sum(axis=(1, 2))
        area = LEAST + (wanted - LEAST) * area_of
        aspect = np.exp((2 * shape - 1) * np.log(WIDEST))
        height, width = (np.rint(np.sqrt(x)).astype(np.int64) for x in (area * aspect, area / aspect))
        top, left = (np.floor(u * (grid - side + 1)).astype(np.int64) for u, side in ((row, height), (column, width)))
        rows, columns = (
            (line >= start[:, None]) & (line < (start + side)[:, None])
            for start, side in ((top, height), (left, width))
        )
        new = rows[:, :, None] & columns[:, None, :] & ~covered
        count = new.sum(axis=(1, 2))
        taken = (np.maximum(height, width) < grid) & (count > 0) & (count <= wanted)
        covered |= new & taken[:, None, None]
    return ~covered.reshape(len(ids), -1)
