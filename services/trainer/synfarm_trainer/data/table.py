"""What the plan knows of the caption groups of its datasets, in about four bytes a group."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synfarm.contracts.ids import parse_caption_id
from synfarm.contracts.randomness import text_id

__all__ = ["Derived", "GroupTable", "least_unsigned"]

Ints = NDArray[np.int64]
Unsigned = NDArray[np.unsignedinteger[Any]]


def least_unsigned(highest: int) -> type[np.unsignedinteger[Any]]:
    """The smallest unsigned type that holds ``highest``."""
    return np.uint8 if highest < 1 << 8 else np.uint16 if highest < 1 << 16 else np.uint32


@dataclass(frozen=True, eq=False, slots=True)
class Derived:
    """A column of G numbers that is computed where it is asked for; it reads like an array of shape (G,)."""

    rows: int
    of: Callable[[Ints], Ints]

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, which: Any) -> Any:
        """By one row, or by whatever picks out of an array of one axis: rows, a slice, a mask."""
        if isinstance(which, int | np.integer):
            return self.of(np.array([which], dtype=np.int64))[0]
        if isinstance(which, slice):
            return self.of(np.arange(*which.indices(self.rows), dtype=np.int64))
        chosen = np.asarray(which)
        return self.of(np.flatnonzero(chosen) if chosen.dtype == np.bool_ else chosen.astype(np.int64))

    def __iter__(self) -> Iterator[int]:
        return (int(self[row]) for row in range(self.rows))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype=dtype)


@dataclass(frozen=True, eq=False)
class GroupTable:
    """G groups in S shards of J jobs, in manifest order: the groups of a shard are neighbours.

    A shard may have no group (a filter left them out); its number stays its own.
    """

    jobs: Ints
    """(J,): ``text_id`` of the jobs."""
    shard_job: Unsigned
    """(S,): place of each shard's job in ``jobs``."""
    base: Ints
    """(S,): caption index within the job from which the shard's offsets count."""
    starts: Ints
    """(S + 1,): row of each shard's first group, and G."""
    offset: Unsigned
    """(G,): caption index less the shard's base."""
    concept: Unsigned
    """(G,): code of the concept: its place among the sorted concept names."""

    @classmethod
    def build(cls, caption_ids: Sequence[str], shards: Sequence[int], concepts: Sequence[str]) -> GroupTable:
        """From rows as commits have them, ``shards`` rising from 0; ids are parsed, concepts coded.

        Raises:
            ValueError: a malformed or repeated caption id, or shards that fall or hold two jobs.
        """
        if len(set(caption_ids)) != len(caption_ids):
            raise ValueError("datasets: a caption id occurs twice")
        parsed = [parse_caption_id(value) for value in caption_ids]
        names = sorted({job for job, _ in parsed})
        place = {job: number for number, job in enumerate(names)}
        shard, index = np.array(shards, dtype=np.int64), np.array([index for _, index in parsed], dtype=np.int64)
        if (np.diff(shard) < 0).any():
            raise ValueError("the groups of a shard must be neighbours, shards in rising order")
        count = int(shard[-1]) + 1 if len(shard) else 0
        starts = np.searchsorted(shard, np.arange(count + 1))
        there = np.flatnonzero(np.diff(starts))
        job = np.array([place[job] for job, _ in parsed], dtype=np.int64)
        shard_job, base = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
        shard_job[there] = job[starts[there]]
        if (shard_job[shard] != job).any():
            raise ValueError("a shard holds groups of two jobs")
        if len(there):
            base[there] = np.minimum.reduceat(index, starts[there])
        offset = index - base[shard]
        codes = {name: code for code, name in enumerate(sorted(set(concepts)))}
        return cls(
            jobs=np.array([text_id(name) for name in names], dtype=np.int64),
            shard_job=shard_job.astype(least_unsigned(len(names))),
            base=base,
            starts=starts.astype(np.int64),
            offset=offset.astype(least_unsigned(int(offset.max(initial=0)))),
            concept=np.array([codes[name] for name in concepts], dtype=least_unsigned(len(codes))),
        )

    def __len__(self) -> int:
        return len(self.offset)

    @property
    def shards(self) -> int:
        """Their number, those without groups too."""
        return len(self.base)

    @property
    def job(self) -> Derived:
        """(G,): ``text_id`` of the job."""
        return Derived(len(self), lambda rows: self.jobs[self.shard_job[self._shard(rows)]])

    @property
    def index(self) -> Derived:
        """(G,): caption index within the job."""
        return Derived(len(self), lambda rows: self.base[self._shard(rows)] + self.offset[rows])

    @property
    def shard(self) -> Derived:
        """(G,): number of the shard."""
        return Derived(len(self), self._shard)

    def _shard(self, rows: Ints) -> Ints:
        return np.searchsorted(self.starts, rows, side="right") - 1

    def ids(self, start: int, stop: int) -> tuple[int | Ints, Ints]:
        """Job and caption index of neighbouring rows, for the keyed hash; the job is one number where it is one."""
        first = int(np.searchsorted(self.starts, start, side="right")) - 1
        last = int(np.searchsorted(self.starts, stop, side="left"))
        borders: Ints = np.clip(self.starts[first : last + 1], start, stop)
        counts = borders[1:] - borders[:-1]
        index = np.repeat(self.base[first:last], counts) + self.offset[start:stop]
        job = self.jobs[self.shard_job[first:last]]
        one = len(job) > 0 and bool((job == job[0]).all())
        return (int(job[0]) if one else np.repeat(job, counts)), index
