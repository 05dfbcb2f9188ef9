"""What is drawn in fixed counts per cell of captions: masked patches, and branches that stochastic depth drops.

A cell is a fixed run of captions of the global batch. Which of its images are masked, where, and which of its crops
skip a branch is drawn by keyed hash of the images' ids; how many never varies, so shapes never change. Ranks and
micro-batches hold whole cells, so neither changes what is drawn.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from synfarm.contracts.purposes import Purpose
from synfarm.contracts.randomness import key_of, uniform
from synfarm_trainer.config import TrainConfig
from synfarm_trainer.data.cropids import CropIds

__all__ = ["draw_kept", "draw_masks"]

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
_WIDEST = 1 / 0.3
"""Largest aspect ratio of a block, as in BEiT."""


def _places(words: Ints, axis: int) -> Ints:
    """The place of each element in the order of its axis, ties by position."""
    order = np.argsort(words, axis=axis, kind="stable")
    return np.asarray(np.argsort(order, axis=axis, kind="stable"), dtype=np.int64)


def _block_distance(ids: CropIds, key: int, epoch: int, grid: int) -> NDArray[np.float64]:
    """(N, grid * grid): of each patch from a drawn centre, in a maximum norm of drawn aspect.

    The nearest patches make one rectangle, cut by the image's border.
    """
    row, column, shape = (uniform(ids.word(key, epoch, part))[:, None] for part in (2, 3, 4))
    stretch = np.exp((2 * shape - 1) * np.log(_WIDEST) / 2)
    y, x = (axis.reshape(1, -1) + 0.5 for axis in np.indices((grid, grid)))
    distance: NDArray[np.float64] = np.maximum(np.abs(y - row * grid) * stretch, np.abs(x - column * grid) / stretch)
    return distance


def draw_masks(config: TrainConfig, seed: int, epoch: int, ids: CropIds) -> Bools | None:
    """(N, patches): masked? for the global crops of whole cells in batch order; None without iBOT.

    In each cell the images of the lowest hashes are masked, the first of them with the first of the counts of
    ``config.masked_tokens_of_cell``, and so on; in an image, the patches of the lowest hashes or nearest to a centre.
    """
    counts = config.masked_tokens_of_cell
    if not counts:
        return None
    key = key_of(seed, Purpose.MASK)
    place = _places(ids.word(key, epoch, 0).reshape(-1, config.cell_images), axis=1).reshape(-1)
    amount = np.array([*counts, *(0,) * (config.cell_images - len(counts))], dtype=np.int64)[place]
    words = ids.word(key, epoch, 1, np.arange(config.patches))
    if config.mask.shape == "block":
        distance = _block_distance(ids, key, epoch, config.augment.size // config.model.patch)
        order = np.lexsort((words, distance), axis=-1)
        patch_place = np.argsort(order, axis=-1, kind="stable")
    else:
        patch_place = _places(words, axis=1)
    return np.asarray(patch_place < amount[:, None])


def draw_kept(config: TrainConfig, seed: int, epoch: int, ids: CropIds, cell_crops: int) -> Bools | None:
    """(N, depth, 2): does the crop go through a block's attention and its MLP? None without stochastic depth.

    Args:
        cell_crops: crops of ``ids`` that make a cell; global and local crops are drawn apart.
    """
    if not config.model.drop_path:
        return None
    key, depth = key_of(seed, Purpose.DROP_PATH), config.model.depth
    words = ids.word(key, epoch, np.arange(depth)[:, None], np.arange(2))
    place = _places(words.reshape(-1, cell_crops, depth, 2), axis=1)
    dropped = np.array(config.dropped_of_cell(cell_crops), dtype=np.int64)
    return np.asarray(place >= dropped[:, None]).reshape(-1, depth, 2)
