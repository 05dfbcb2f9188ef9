"""The order of a run whose datasets are mixed by weights or grow: a pure function of what its segments record.

A run's sequence is cut into legs, one a segment. In a leg several streams share the positions by
:class:`~synfarm_trainer.data.mixture.Shares`; each stream is one plan with epochs of its own and begins where the leg
before has left it. An epoch here has no remainder that is dropped: the one after it follows at once, so a batch may
hold the end of one and the beginning of the next, and then perhaps a caption twice, with crops of either epoch; equal
captions are positives as always.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from synfarm_trainer.data.held_out import RowSet
from synfarm_trainer.data.mixture import Shares
from synfarm_trainer.data.plan import Plan, share_of_rank
from synfarm_trainer.data.table import Derived, GroupTable

__all__ = ["Course", "Leg", "Standing", "Stream"]

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a stream is: an epoch, and how many of its positions lie behind."""

    epoch: int
    offset: int


@dataclass(frozen=True, eq=False)
class Stream:
    """Caption groups that have epochs of their own."""

    plan: Plan
    rows: Derived
    """Of each row of the plan's table its row in the table of the whole run."""
    begins: Standing

    @cached_property
    def groups(self) -> int:
        """Positions of an epoch."""
        return self.plan.groups

    def standing(self, place: int) -> Standing:
        """After ``place`` positions of the stream."""
        epochs, offset = divmod(self.begins.offset + place, self.groups)
        return Standing(self.begins.epoch + epochs, offset)

    def end_after(self, place: int) -> int:
        """The first place of the stream after ``place`` at which an epoch of it begins."""
        return place + self.groups - self.standing(place).offset

    def take(self, places: Ints) -> tuple[Ints, Ints]:
        """(n,) places of the stream, near each other, to (rows, epochs), (n,) both."""
        epochs, offsets = np.divmod(self.begins.offset + places, self.groups)
        epochs += self.begins.epoch
        rows = np.empty_like(places)
        for epoch in np.unique(epochs).tolist():
            mine = epochs == epoch
            wanted = offsets[mine]
            first = int(wanted.min())
            rows[mine] = self.rows[self.plan.rows_at(epoch, first, int(wanted.max()) + 1)[wanted - first]]
        return rows, epochs


@dataclass(frozen=True, eq=False)
class Leg:
    """The positions from ``begins`` on, until the next leg does."""

    begins: int
    shares: Shares
    streams: tuple[Stream, ...]

    def take(self, positions: Ints) -> tuple[Ints, Ints]:
        """(n,) positions of the run to (rows, epochs), (n,) both."""
        of, places = self.shares.locate(positions - self.begins)
        rows, epochs = np.empty_like(positions), np.empty_like(positions)
        for number, stream in enumerate(self.streams):
            mine = of == number
            if mine.any():
                rows[mine], epochs[mine] = stream.take(places[mine])
        return rows, epochs

    def standings(self, position: int) -> tuple[Standing, ...]:
        """Of each stream before the run's position ``position``."""
        past = position - self.begins
        return tuple(stream.standing(self.shares.count(n, past)) for n, stream in enumerate(self.streams))

    def end_after(self, stream: int, position: int) -> int:
        """The first position after ``position`` right before which an epoch of the stream has ended."""
        behind = self.shares.count(stream, position - self.begins)
        last = self.streams[stream].end_after(behind) - 1
        return self.begins + self.shares.position(stream, last) + 1


class Course:
    """What :class:`~synfarm_trainer.data.plan.Plan` is for a run of one dataset; rows are places in the table."""

    def __init__(
        self,
        table: GroupTable,
        seed: int,
        borders: Sequence[int],
        leg: Callable[[int], Leg],
        epoch_groups: Sequence[int],
        *,
        captions_per_batch: int,
        cell_captions: int,
    ) -> None:
        """
        Args:
            table: of all groups that any leg has.
            borders: the first position of each leg, rising from 0.
            leg: makes one; asked again for those that were long not used.
            epoch_groups: of each leg, the groups that all its streams' epochs have together.
        """
        self.table, self.seed = table, seed
        self.captions_per_batch, self.cell_captions = captions_per_batch, cell_captions
        self._borders, self._leg, self._epoch_groups = list(borders), lru_cache(maxsize=2)(leg), list(epoch_groups)

    @property
    def last(self) -> Leg:
        """The newest leg."""
        return self._leg(len(self._borders) - 1)

    def epoch_ends_where_last_begins(self, stream: int) -> bool:
        """Whether an epoch of the stream ends right where the newest leg begins, in the order of those before it."""
        begins = self._borders[-1]
        before = int(np.searchsorted(self._borders, begins)) - 1
        return before >= 0 and self._leg(before).end_after(stream, begins - 1) == begins

    @cached_property
    def held_set(self) -> RowSet:
        """The rows that are held out. What one leg holds out, the later ones do too."""
        held = np.zeros(len(self.table) + 8, dtype=np.bool_)
        for stream in self.last.streams:
            held[stream.rows[np.flatnonzero(stream.plan.held)]] = True
        return RowSet(len(self.table), np.packbits(held))

    @property
    def held(self) -> NDArray[np.bool_]:
        """(G,): the same as an array, made anew each time."""
        return self.held_set.unpack(0, len(self.table))

    def batch(self, step: int) -> Ints:
        """(captions_per_batch,): the rows of a step's global batch."""
        return self._take(step)[0]

    def epochs(self, step: int) -> Ints:
        """(captions_per_batch,): the epoch of each caption of the batch in its own stream."""
        return self._take(step)[1]

    def _take(self, step: int) -> tuple[Ints, Ints]:
        size = self.captions_per_batch
        positions = np.arange(step * size, (step + 1) * size, dtype=np.int64)
        legs = np.searchsorted(self._borders, positions, side="right") - 1
        rows, epochs = np.empty_like(positions), np.empty_like(positions)
        for number in np.unique(legs).tolist():
            mine = legs == number
            rows[mine], epochs[mine] = self._leg(number).take(positions[mine])
        return rows, epochs

    def passes(self, step: int) -> float:
        """Epochs that ``step`` steps come to, over all groups together: a stream of large weight has had more."""
        position, found = step * self.captions_per_batch, 0.0
        ends = [*self._borders[1:], position]
        for begins, ends_at, groups in zip(self._borders, ends, self._epoch_groups, strict=True):
            found += max(0, min(ends_at, position) - begins) / groups
        return found

    def rank_slice(self, rank: int, world: int) -> slice:
        """As :func:`~synfarm_trainer.data.plan.share_of_rank`."""
        return share_of_rank(self.captions_per_batch, self.cell_captions, rank, world)
