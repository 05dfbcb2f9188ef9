"""The next generation of an ended job: how it begins, and what it need not read again."""

from __future__ import annotations

import threading
from collections import OrderedDict

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.commits import Failure
from synfarm.contracts.generations import Opening
from synfarm.contracts.manifests import Counts, Ended, ManifestLine, ManifestPart, Progress, read_part
from synfarm.contracts.renders import Stage
from synfarm.queue.board import Board
from synfarm.queue.specs import read_openings
from synfarm.storage.columns_file import read_columns
from synfarm.storage.group_columns import UnitColumns, split_units
from synfarm.storage.protocol import ObjectMissing, ObjectStore, StoreDamaged
from synfarm.telemetry import get_logger

__all__ = ["FormerGeneration", "reopen"]

_log = get_logger(__name__)
_PARTS_KEPT = 2
"""Parts in memory, of about a megabyte each: units are walked in order."""


def reopen(store: ObjectStore, board: Board, job: str, *, letters: int) -> bool:
    """Begin the generation that was asked for last, if it has not begun; False: call again.

    A retry first moves every dead letter to ``retried/``, so that the units count as open; then, in one write, progress
    is set to the beginning. Killed in between it goes on where it was.

    Args:
        letters: dead letters moved in one call.
    """
    openings = read_openings(store, job)
    if not openings:
        return True
    opening, progress = openings[-1], _progress(store, job)
    if progress is not None and progress.generation >= opening.generation:
        return True
    former = Ended.from_bytes(store.get(layout.ended(job, opening.generation - 1)))
    if opening.why == "retry" and _move_letters(store, job, former.generation, letters) == letters:
        return False
    # What is live of the former generation is forgotten first: with the new progress in place nobody would do it.
    board.forget(job)
    store.put(layout.progress(job), _beginning(opening, former).to_bytes(), content_type="application/json")
    _log.info("generation_opened", job=job, generation=opening.generation, why=opening.why)
    return True


def _move_letters(store: ObjectStore, job: str, generation: int, most: int) -> int:
    moved = 0
    for info in store.list(layout.failures_prefix(job), limit=most):
        try:
            unit = layout.parse_unit(info.key)[2]
        except ValueError:
            _log.warning("not_a_unit", key=info.key)
            continue
        store.create(layout.retried(job, generation, unit), store.get(info.key))
        store.delete(info.key)
        moved += 1
    return moved


def _beginning(opening: Opening, former: Ended) -> Progress:
    return Progress(
        job=opening.job,
        watermark=0,
        counts=Counts(),
        draws=former.draws,
        rejections=former.rejections,
        parts=0,
        generation=opening.generation,
        as_of=utc_now(),
    )


def _progress(store: ObjectStore, job: str) -> Progress | None:
    try:
        return Progress.from_bytes(store.get(layout.progress(job)))
    except ObjectMissing:
        return None


class FormerGeneration:
    """What the manifest of the generation before tells of units, so that their commits are not read again.

    A manifest line is 300 bytes, the commit of a large unit half a megabyte. Thread-safe.
    """

    def __init__(self, store: ObjectStore, job: str, generation: int, part_units: int) -> None:
        """
        Args:
            generation: 0: there is none.
        """
        self._store, self._job, self._generation, self._part_units = store, job, generation, part_units
        self._written: tuple[ManifestPart, ...] | None = None if generation else ()
        self._parts: OrderedDict[int, dict[int, ManifestLine]] = OrderedDict()
        self._columns: OrderedDict[int, dict[int, UnitColumns]] = OrderedDict()
        self._lock = threading.Lock()

    def line(self, unit: int) -> ManifestLine | None:
        """The unit's line; None if that generation did not have the unit.

        Raises:
            ObjectMissing, StoreError: its manifest cannot be read.
        """
        if not self._generation:
            return None
        with self._lock:
            found = self._part(unit)
            if found is None:
                return None
            number, part = found
            if number not in self._parts:
                self._parts[number] = {line.unit: line for line in read_part(self._store.get(part.key))}
                while len(self._parts) > _PARTS_KEPT:
                    self._parts.popitem(last=False)
            return self._parts[number].get(unit)

    def columns(self, unit: int) -> UnitColumns | None:
        """What its columns say of a unit; None: they do not have it, or cannot be believed."""
        with self._lock:
            found = self._part(unit)
            if found is None:
                return None
            number, part = found
            if number not in self._columns:
                self._columns[number] = self._read_columns(part)
                while len(self._columns) > _PARTS_KEPT:
                    self._columns.popitem(last=False)
            return self._columns[number].get(unit)

    def _part(self, unit: int) -> tuple[int, ManifestPart] | None:
        if self._written is None:
            self._written = Ended.from_bytes(self._store.get(layout.ended(self._job, self._generation))).parts
        number = unit // self._part_units
        return (number, self._written[number]) if number < len(self._written) else None

    def _read_columns(self, part: ManifestPart) -> dict[int, UnitColumns]:
        if part.columns is None:
            return {}
        try:
            return split_units(read_columns(self._store, part.columns)[0])
        except (ObjectMissing, StoreDamaged, KeyError, ValueError) as error:
            # Derived from the commits, which are read instead.
            _log.warning("columns_unreadable", job=self._job, key=part.columns.key, error=str(error))
            return {}

    def counted_captions(self, unit: int) -> bool:
        """Whether that generation's sums hold the draws of the unit's captions."""
        line = self.line(unit)
        if line is None or line.status == "committed":
            return line is not None
        try:
            letter = Failure.from_bytes(self._store.get(layout.retried(self._job, self._generation, unit)))
        except ObjectMissing:
            return True  # it was not tried again
        return letter.stage is Stage.RENDER
