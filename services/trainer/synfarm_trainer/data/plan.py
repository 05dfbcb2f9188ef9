"""The order of training as a pure function of (seed, epoch, position): no state beyond one integer.

An epoch visits every training group once: the shards are permuted, cut into blocks of ``block_shards``, and the groups
of a block are shuffled together, so that only a block's shards need to be near at a time. A step takes the next
``captions_per_batch`` positions; the remainder of an epoch that fills no batch is dropped (another one each epoch).
Held-out groups are not part of the order at all.

What a plan holds grows with the shards, and by one bit a group: of an epoch it knows the order of the shards, and draws
the groups of a block when a batch needs them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from threading import Lock
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from synfarm.contracts.purposes import Purpose
from synfarm.contracts.randomness import bits, key_of
from synfarm_trainer.data.held_out import RowSet, held_out_set
from synfarm_trainer.data.table import GroupTable

__all__ = ["GroupTable", "Plan", "share_of_rank"]

Ints = NDArray[np.int64]
Key = TypeVar("Key")
Value = TypeVar("Value")


class _Recent(Generic[Key, Value]):
    """The last few values of a pure function, so that they need not be made again. Thread-safe."""

    def __init__(self, most: int) -> None:
        self._most, self._lock = most, Lock()
        self._known: dict[Key, Value] = {}

    def get(self, key: Key, make: Callable[[], Value]) -> Value:
        with self._lock:
            if key not in self._known:
                made = make()
                while len(self._known) >= self._most:
                    del self._known[next(iter(self._known))]
                self._known[key] = made
            return self._known[key]


@dataclass(frozen=True, eq=False)
class _Epoch:
    shards: Ints
    """Numbers of the shards with training groups, in the epoch's order."""
    ends: Ints
    """(blocks,): position at which each block ends."""


@dataclass(frozen=True, eq=False)
class Plan:
    """The order of one run. Rows are places in the table; they serve as labels too, for they are unique."""

    table: GroupTable
    seed: int
    captions_per_batch: int
    block_shards: int
    held_out: float
    cell_captions: int = 1
    _epochs: _Recent[int, _Epoch] = field(default_factory=lambda: _Recent(2), init=False, repr=False)
    _blocks: _Recent[tuple[int, int], Ints] = field(default_factory=lambda: _Recent(4), init=False, repr=False)

    def __post_init__(self) -> None:
        if self.groups < self.captions_per_batch:
            raise ValueError(
                f"data.captions_per_batch: {self.captions_per_batch} captions do not fit the dataset's {self.groups} "
                f"training captions ({len(self.table)} less the held-out ones); lower it or use a larger dataset"
            )

    @cached_property
    def held_set(self) -> RowSet:
        """The rows that are held out."""
        return held_out_set(self.table, self.seed, self.held_out)

    @property
    def held(self) -> NDArray[np.bool_]:
        """(G,): held out? Made anew each time; large data sets are better asked by ``held_set``."""
        return self.held_set.unpack(0, len(self.table))

    @cached_property
    def _sizes(self) -> NDArray[np.int32]:
        """(S,): training groups of each shard."""
        starts = self.table.starts
        return (np.diff(starts) - np.diff(self.held_set.before(starts))).astype(np.int32)

    @cached_property
    def _shards(self) -> tuple[Ints, Ints]:
        """Numbers of the shards with training groups, and the first training row of each: the shard's name in draws."""
        numbers = np.flatnonzero(self._sizes)
        first = self.table.starts[numbers]
        there = np.arange(len(first))
        while len(there):
            there = there[self.held_set.has(first[there])]
            first[there] += 1
        return numbers, first

    @cached_property
    def groups(self) -> int:
        """Training groups: the length of an epoch in positions."""
        return int(self._sizes.sum(dtype=np.int64))

    @cached_property
    def steps_per_epoch(self) -> int:
        return self.groups // self.captions_per_batch

    def epoch_order(self, epoch: int) -> Ints:
        """(groups,): the rows of an epoch in order; a permutation of all training rows. Eight bytes a row."""
        return self.rows_at(epoch, 0, self.groups)

    def rows_at(self, epoch: int, start: int, stop: int) -> Ints:
        """(stop - start,): the rows at these positions of an epoch; only their blocks are drawn."""
        ends = self._epoch(epoch).ends
        found = [np.empty(0, dtype=np.int64)]
        for block in range(int(np.searchsorted(ends, start, side="right")), len(ends)):
            begin = int(ends[block - 1]) if block else 0
            if begin >= stop:
                break
            rows = self._blocks.get((epoch, block), partial(self._draw_block, epoch, block))
            found.append(rows[max(start - begin, 0) : stop - begin])
        return np.concatenate(found)

    def _epoch(self, epoch: int) -> _Epoch:
        return self._epochs.get(epoch, partial(self._draw_epoch, epoch))

    def _draw_epoch(self, epoch: int) -> _Epoch:
        numbers, first = self._shards
        draw = bits(key_of(self.seed, Purpose.SHARD_ORDER), epoch, self.table.job[first], self.table.index[first])
        shards = numbers[np.argsort(draw, kind="stable")]
        sizes = self._sizes[shards].astype(np.int64)
        return _Epoch(shards, np.cumsum(np.add.reduceat(sizes, np.arange(0, len(sizes), self.block_shards))))

    def _draw_block(self, epoch: int, block: int) -> Ints:
        shards = self._epoch(epoch).shards[block * self.block_shards : (block + 1) * self.block_shards]
        starts = self.table.starts
        rows = np.concatenate([np.arange(starts[shard], starts[shard + 1]) for shard in shards])
        rows = rows[~self.held_set.has(rows)]
        key = key_of(self.seed, Purpose.BLOCK_ORDER)
        draw = bits(key, epoch, self.table.job[rows], self.table.index[rows])
        return rows[np.argsort(draw, kind="stable")]

    def epoch_of(self, step: int) -> int:
        return step // self.steps_per_epoch

    def batch(self, step: int) -> Ints:
        """(captions_per_batch,): the rows of a step's global batch."""
        start = step % self.steps_per_epoch * self.captions_per_batch
        return self.rows_at(self.epoch_of(step), start, start + self.captions_per_batch)

    def passes(self, step: int) -> float:
        """Epochs that ``step`` steps come to."""
        return step / self.steps_per_epoch

    def rank_slice(self, rank: int, world: int) -> slice:
        """As :func:`share_of_rank`."""
        return share_of_rank(self.captions_per_batch, self.cell_captions, rank, world)


def share_of_rank(captions: int, cell: int, rank: int, world: int) -> slice:
    """The whole cells of a batch that a rank takes: contiguous, so that ranks in order make the batch.

    Raises:
        ValueError: the ranks do not divide the batch into whole cells.
    """
    unit = world * cell
    if captions % unit:
        cells = f" in cells of {cell}" if cell > 1 else ""
        raise ValueError(
            f"data.captions_per_batch: {captions} captions{cells} cannot be shared by {world} "
            f"ranks; use a multiple of {unit}, or another number of ranks"
        )
    share = captions // world
    return slice(rank * share, (rank + 1) * share)
