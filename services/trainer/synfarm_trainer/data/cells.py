"""What is drawn in fixed counts per cell of captions: masked patches, and branches that stochastic depth drops.

A cell is a fixed run of captions of the global batch. Which of its images are masked, where, and which of its crops
skip a branch is drawn by keyed hash of the images' ids; how many never varies, so shapes never change. Ranks and
micro-batches hold whole cells, so neither changes what is drawn.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from synfarm.contracts.purposes import Purpose
from synfarm.contracts.randomness import key_of
from synfarm_trainer.config import TrainConfig
from synfarm_trainer.data.blocks import distance_from_centre, outside_blocks
from synfarm_trainer.data.cropids import CropIds, Epoch

__all__ = ["draw_kept", "draw_masks"]

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


def _places(words: Ints, axis: int) -> Ints:
    """The place of each element in the order of its axis, ties by position."""
    order = np.argsort(words, axis=axis, kind="stable")
    return np.asarray(np.argsort(order, axis=axis, kind="stable"), dtype=np.int64)


def _patch_order(config: TrainConfig, ids: CropIds, key: int, epoch: Epoch, amount: Ints) -> Ints:
    """(N, patches): the patches of each crop in the order in which they are masked, ``amount`` (N,) of them."""
    words = ids.word(key, epoch, 1, np.arange(config.patches))
    grid = config.augment.size // config.model.patch
    if config.mask.shape == "block":
        return np.lexsort((words, distance_from_centre(ids, key, epoch, grid)), axis=-1)
    if config.mask.shape == "blocks":
        return np.lexsort((words, outside_blocks(ids, key, epoch, grid, amount)), axis=-1)
    return np.argsort(words, axis=-1, kind="stable")


def _amounts(config: TrainConfig, ids: CropIds, key: int, epoch: Epoch) -> Ints:
    """(N,): masked patches of each crop."""
    counts = np.array(config.masked_tokens_of_cell, dtype=np.int64)
    words = ids.word(key, epoch, 0).reshape(-1, config.cell_images)
    views = np.zeros_like(words)
    if config.mask.first_views:
        # Crops of an image have one word and so stay together, in their order.
        images = replace(ids, crop=np.zeros_like(ids.crop)).word(key, epoch, 5)
        views = _places(images.reshape(-1, config.crops_of_caption), axis=1).reshape(words.shape)
    chosen = np.argsort(np.lexsort((words, views), axis=-1), axis=-1, kind="stable") < len(counts)
    place = np.argsort(np.lexsort((words, ~chosen), axis=-1), axis=-1, kind="stable")
    found: Ints = np.append(counts, np.zeros(config.cell_images - len(counts), dtype=np.int64))[place].reshape(-1)
    return found


def draw_masks(config: TrainConfig, seed: int, epoch: Epoch, ids: CropIds) -> Bools | None:
    """(N, patches): masked? for the global crops of whole cells in batch order; None without iBOT.

    In each cell the images of the lowest hashes are masked, with ``mask.first_views`` those of the first views of each
    caption; the masked image of the lowest hash with the first of the counts of ``config.masked_tokens_of_cell``, and
    so on. In an image it is the patches of the lowest hashes, nearest to a centre, or in blocks; those that several
    blocks leave wanting are of the lowest hashes again (as DINOv2 completes them).
    """
    if not config.masked_tokens_of_cell:
        return None
    key = key_of(seed, Purpose.MASK)
    amount = _amounts(config, ids, key, epoch)
    order = _patch_order(config, ids, key, epoch, amount)
    return np.asarray(np.argsort(order, axis=-1, kind="stable") < amount[:, None])


def draw_kept(config: TrainConfig, seed: int, epoch: Epoch, ids: CropIds, cell_crops: int) -> Bools | None:
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
