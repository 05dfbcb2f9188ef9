"""The order of training as a pure function of (seed, epoch, position): no state beyond one integer.

An epoch visits every training group once: the shards are permuted, cut into blocks of ``block_shards``, and the groups
of a block are shuffled together, so that only a block's shards need to be near at a time. A step takes the next
``captions_per_batch`` positions; the remainder of an epoch that fills no batch is dropped (another one each epoch).
Held-out groups are not part of the order at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from synfarm.contracts.ids import parse_caption_id
from synfarm.contracts.purposes import Purpose
from synfarm.contracts.randomness import bits, key_of, text_id

__all__ = ["GroupTable", "Plan", "held_out_rows"]

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class GroupTable:
    """What the plan needs to know of G groups, in manifest order; arrays of shape (G,)."""

    job: Ints
    """``text_id`` of the job."""
    index: Ints
    """Caption index within the job."""
    shard: Ints
    """Number of the shard, rising from 0."""
    concept: Ints
    """Code of the concept: its place among the sorted concept names."""

    @classmethod
    def build(cls, caption_ids: Sequence[str], shards: Sequence[int], concepts: Sequence[str]) -> GroupTable:
        """From the commits' rows; ids are parsed, concepts coded.

        Raises:
            ValueError: a malformed or repeated caption id.
        """
        if len(set(caption_ids)) != len(caption_ids):
            raise ValueError("datasets: a caption id occurs twice")
        parsed = [parse_caption_id(value) for value in caption_ids]
        jobs = {job: text_id(job) for job in {job for job, _ in parsed}}
        codes = {name: code for code, name in enumerate(sorted(set(concepts)))}
        return cls(
            job=np.array([jobs[job] for job, _ in parsed], dtype=np.int64),
            index=np.array([index for _, index in parsed], dtype=np.int64),
            shard=np.array(shards, dtype=np.int64),
            concept=np.array([codes[name] for name in concepts], dtype=np.int64),
        )

    def __len__(self) -> int:
        return len(self.index)


def held_out_rows(table: GroupTable, seed: int, share: float) -> NDArray[np.bool_]:
    """Which groups are held out: of each concept the rounded share with the lowest keyed hash of the caption id.

    A concept of two groups or more gives at least one and keeps at least one; a lone group is trained on.
    """
    held = np.zeros(len(table), dtype=np.bool_)
    if not len(table):
        return held
    draw = bits(key_of(seed, Purpose.HELD_OUT), table.job, table.index)
    order = np.lexsort((table.index, table.job, draw, table.concept))
    borders = np.flatnonzero(np.diff(table.concept[order])) + 1
    for rows in np.split(order, borders):
        if len(rows) > 1:
            count = int(np.floor(len(rows) * share + 0.5))
            held[rows[: min(max(count, 1), len(rows) - 1)]] = True
    return held


@dataclass(frozen=True, eq=False)
class Plan:
    """The order of one run. Rows are places in the table; they serve as labels too, for they are unique."""

    table: GroupTable
    seed: int
    captions_per_batch: int
    block_shards: int
    held_out: float
    cell_captions: int = 1

    def __post_init__(self) -> None:
        if self.groups < self.captions_per_batch:
            raise ValueError(
                f"data.captions_per_batch: {self.captions_per_batch} captions do not fit the dataset's {self.groups} "
                f"training captions ({len(self.table)} less the held-out ones); lower it or use a larger dataset"
            )

    @cached_property
    def held(self) -> NDArray[np.bool_]:
        """(G,): held out?"""
        return held_out_rows(self.table, self.seed, self.held_out)

    @cached_property
    def _by_shard(self) -> list[Ints]:
        rows = np.flatnonzero(~self.held)
        order = rows[np.argsort(self.table.shard[rows], kind="stable")]
        borders = np.flatnonzero(np.diff(self.table.shard[order])) + 1
        return np.split(order, borders)

    @property
    def groups(self) -> int:
        """Training groups: the length of an epoch in positions."""
        return int((~self.held).sum())

    @property
    def steps_per_epoch(self) -> int:
        return self.groups // self.captions_per_batch

    def epoch_order(self, epoch: int) -> Ints:
        """(groups,): the rows of an epoch in order; a permutation of all training rows."""
        shards = self._by_shard
        first = np.array([rows[0] for rows in shards], dtype=np.int64)
        key = key_of(self.seed, Purpose.SHARD_ORDER)
        places = np.argsort(bits(key, epoch, self.table.job[first], self.table.index[first]), kind="stable")
        key = key_of(self.seed, Purpose.BLOCK_ORDER)
        blocks = []
        for start in range(0, len(places), self.block_shards):
            rows = np.concatenate([shards[place] for place in places[start : start + self.block_shards]])
            draw = bits(key, epoch, self.table.job[rows], self.table.index[rows])
            blocks.append(rows[np.argsort(draw, kind="stable")])
        return np.concatenate(blocks)

    def epoch_of(self, step: int) -> int:
        return step // self.steps_per_epoch

    def batch(self, step: int, order: Ints | None = None) -> Ints:
        """(captions_per_batch,): the rows of a step's global batch. ``order`` spares drawing the epoch's again."""
        order = self.epoch_order(self.epoch_of(step)) if order is None else order
        start = step % self.steps_per_epoch * self.captions_per_batch
        return order[start : start + self.captions_per_batch]

    def rank_slice(self, rank: int, world: int) -> slice:
        """The whole cells of a batch that a rank takes: contiguous, so that ranks in order make the batch.

        Raises:
            ValueError: the ranks do not divide the batch into whole cells.
        """
        unit = world * self.cell_captions
        if self.captions_per_batch % unit:
            cells = f" in cells of {self.cell_captions}" if self.cell_captions > 1 else ""
            raise ValueError(
                f"data.captions_per_batch: {self.captions_per_batch} captions{cells} cannot be shared by {world} "
                f"ranks; use a multiple of {unit}, or another number of ranks"
            )
        share = self.captions_per_batch // world
        return slice(rank * share, (rank + 1) * share)
