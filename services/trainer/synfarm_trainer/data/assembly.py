"""Parts of manifests put together into one table, in the memory that the table will have."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from synfarm.contracts.randomness import text_id
from synfarm_trainer.data.commits import UnitRefs
from synfarm_trainer.data.parts import PartArrays
from synfarm_trainer.data.table import GroupTable, least_unsigned

__all__ = ["Assembly"]

_CHUNK = 1 << 20
Unsigned = NDArray[np.unsignedinteger[Any]]


class _Growing:
    """Numbers one after the other, in the narrowest type so far."""

    def __init__(self, most: int) -> None:
        self._held: Unsigned = np.empty(most, dtype=np.uint8)
        self.count = 0

    def add(self, values: NDArray[Any]) -> None:
        dtype = least_unsigned(int(values.max(initial=0)))
        if np.dtype(dtype).itemsize > self._held.itemsize:
            self._held = self._held.astype(dtype)
        self._held[self.count : self.count + len(values)] = values
        self.count += len(values)

    def keep(self, stays: NDArray[np.bool_]) -> None:
        kept = self.values[stays]
        self._held, self.count = kept, len(kept)

    @property
    def values(self) -> Unsigned:
        return self._held[: self.count]

    def settled(self) -> Unsigned:
        """The numbers; where most of the room was not needed, in room of their own."""
        return self.values if 2 * self.count > len(self._held) else self.values.copy()


class Assembly:
    """Takes parts in manifest order."""

    def __init__(self, most: int) -> None:
        """
        Args:
            most: groups of all parts together.
        """
        self._offset, self._concept, self._images = _Growing(most), _Growing(most), _Growing(most)
        self._codes: dict[str, int] = {}
        self._jobs: dict[str, int] = {}
        self._sizes: list[NDArray[np.int64]] = []
        self._first: list[NDArray[np.int64]] = []
        self._unit: list[NDArray[np.uint32]] = []
        self._commit: list[NDArray[np.uint8]] = []
        self._job: list[NDArray[np.uint8]] = []

    @property
    def groups(self) -> int:
        return self._offset.count

    def add(self, job: str, part: PartArrays, stays: NDArray[np.bool_] | None) -> None:
        """The groups of a part that stay; its units stay all, so that shards keep their numbers."""
        numbers = part.numbers
        codes = np.array([self._codes.setdefault(name, len(self._codes)) for name in part.concepts], dtype=np.uint32)
        columns = [numbers[name] for name in ("group.offset", "group.concept", "group.images")]
        sizes = numbers["unit.groups"].astype(np.int64)
        if stays is not None:
            columns = [values[stays] for values in columns]
            sums = np.concatenate([[0], np.cumsum(stays)])
            ends = np.concatenate([[0], np.cumsum(sizes)])
            sizes = np.diff(sums[ends])
        offset, concept, images = columns
        self._offset.add(offset)
        self._concept.add(codes[concept] if len(codes) else concept)
        self._images.add(images)
        self._sizes.append(sizes)
        self._first.append(numbers["unit.first"])
        self._unit.append(numbers["unit.number"])
        self._commit.append(numbers["unit.commit_sha256"].reshape(-1, 32))
        place = self._jobs.setdefault(job, len(self._jobs))
        self._job.append(np.full(len(sizes), place, dtype=np.uint8))

    def keep(self, stays: NDArray[np.bool_]) -> None:
        """Leave out groups of all that were added."""
        ends = np.concatenate([[0], np.cumsum(np.concatenate(self._sizes))])
        sums = np.concatenate([[0], np.cumsum(stays)])
        self._sizes = [np.diff(sums[ends])]
        for values in (self._offset, self._concept, self._images):
            values.keep(stays)

    def finish(self) -> tuple[GroupTable, UnitRefs, Unsigned, tuple[str, ...]]:
        """The table, the shards' commits, images of each group, the sorted names of the concepts.

        Raises:
            ValueError: a caption is there twice.
        """
        concept = self._concept.settled()
        names = self._sort_names(concept)
        job = np.concatenate(self._job)
        table = GroupTable(
            jobs=np.array([text_id(name) for name in self._jobs], dtype=np.int64),
            shard_job=job,
            base=np.concatenate(self._first),
            starts=np.concatenate([[0], np.cumsum(np.concatenate(self._sizes))]),
            offset=self._offset.settled(),
            concept=concept,
        )
        _check_distinct(table)
        images = self._images.settled()
        if images.min(initial=255) == images.max(initial=0):
            images = np.broadcast_to(images[0], len(images))  # one number in memory
        return (
            table,
            UnitRefs(tuple(self._jobs), job, np.concatenate(self._unit), np.concatenate(self._commit)),
            images,
            names,
        )

    def _sort_names(self, concept: Unsigned) -> tuple[str, ...]:
        """Codes become places among the sorted names of concepts that have groups, in place."""
        counts = np.zeros(len(self._codes), dtype=np.int64)
        for start in range(0, len(concept), _CHUNK):
            counts += np.bincount(concept[start : start + _CHUNK], minlength=len(counts))
        used = sorted(name for name, code in self._codes.items() if counts[code])
        places = np.zeros(len(counts), dtype=concept.dtype)
        places[[self._codes[name] for name in used]] = np.arange(len(used))
        for start in range(0, len(concept), _CHUNK):
            concept[start : start + _CHUNK] = places[concept[start : start + _CHUNK]]
        return tuple(used)


def _check_distinct(table: GroupTable) -> None:
    """Captions of a shard rise, and shards of a job lie apart: then none is there twice. Else all are looked at.

    Of jobs that grow by turns the shards come by turns too.
    """
    offset, starts = table.offset, table.starts
    inner = np.ones(len(offset), dtype=np.bool_)
    inner[starts[:-1][starts[:-1] < len(offset)]] = False
    rising = True
    for start in range(1, len(offset), _CHUNK):
        stop = min(start + _CHUNK, len(offset))
        rising &= bool((offset[start:stop] > offset[start - 1 : stop - 1])[inner[start:stop]].all())
    there = np.flatnonzero(np.diff(starts))
    job, lowest, highest = table.shard_job[there], table.index[starts[there]], table.index[starts[there + 1] - 1]
    order = np.lexsort((lowest, job))
    job, lowest, highest = job[order], lowest[order], highest[order]
    rising &= bool(((job[1:] != job[:-1]) | (lowest[1:] > highest[:-1])).all())
    if not rising and len(np.unique(np.stack([table.job[:], table.index[:]]), axis=1).T) != len(offset):
        raise ValueError("datasets: a caption id occurs twice")
