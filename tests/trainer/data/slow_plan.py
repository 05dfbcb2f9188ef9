"""The plan over arrays of all groups: what a data set that fits into memory can be compared with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from synfarm.contracts.purposes import Purpose
from synfarm.contracts.randomness import bits, key_of

__all__ = ["epoch_order", "held_out"]

Ints = NDArray[np.int64]


def held_out(job: Ints, index: Ints, concept: Ints, seed: int, share: float) -> NDArray[np.bool_]:
    """Of each concept the rounded share with the lowest keyed hash; everything is sorted."""
    held = np.zeros(len(index), dtype=np.bool_)
    draw = bits(key_of(seed, Purpose.HELD_OUT), job, index)
    order = np.lexsort((index, job, draw, concept))
    for rows in np.split(order, np.flatnonzero(np.diff(concept[order])) + 1):
        if len(rows) > 1:
            count = int(np.floor(len(rows) * share + 0.5))
            held[rows[: min(max(count, 1), len(rows) - 1)]] = True
    return held


def epoch_order(
    job: Ints, index: Ints, shard: Ints, held: NDArray[np.bool_], seed: int, block_shards: int, epoch: int
) -> Ints:
    """The training rows of an epoch: shards permuted, blocks of them shuffled."""
    rows = np.flatnonzero(~held)
    shards = np.split(rows, np.flatnonzero(np.diff(shard[rows])) + 1)
    first = np.array([members[0] for members in shards])
    places = np.argsort(bits(key_of(seed, Purpose.SHARD_ORDER), epoch, job[first], index[first]), kind="stable")
    blocks = []
    for start in range(0, len(places), block_shards):
        members = np.concatenate([shards[place] for place in places[start : start + block_shards]])
        draw = bits(key_of(seed, Purpose.BLOCK_ORDER), epoch, job[members], index[members])
        blocks.append(members[np.argsort(draw, kind="stable")])
    return np.concatenate(blocks)
