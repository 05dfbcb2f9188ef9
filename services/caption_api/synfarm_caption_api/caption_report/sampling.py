"""Which units' captions a report reads: a fixed number, spread evenly over what is written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import islice

from pydantic import ValidationError

from synfarm.contracts import layout
from synfarm.contracts.captions import CaptionRecord, read_jsonl
from synfarm.contracts.generations import unit_of
from synfarm.contracts.jobs import JobSpec, JobState
from synfarm.contracts.manifests import Ended, Progress
from synfarm.storage.protocol import ObjectMissing, ObjectStore
from synfarm.telemetry import get_logger
from synfarm_caption_api.samples.walk import spread

__all__ = ["CAPTIONS", "UNITS", "Extent", "UnitSample", "extent_at_end", "extent_of", "read_units"]

_log = get_logger(__name__)

UNITS = 256
CAPTIONS = 8192
"""Units and captions that a report reads at most."""
_ABOVE = 1000
"""Units above the watermark that a report knows of: one answer of a listing."""
_BATCH = 32


@dataclass(frozen=True, slots=True)
class Extent:
    """What is written, as far as two small objects and a listing tell."""

    below: int
    """Units below this one are written or dead."""
    above: frozenset[int]

    @property
    def bound(self) -> int:
        """No unit from this number on is known to be written."""
        return max(self.above, default=self.below - 1) + 1

    @property
    def units(self) -> int:
        """Units known to be written, dead ones among them."""
        return self.below + len(self.above)

    def holds(self, unit: int) -> bool:
        return unit < self.below or unit in self.above


@dataclass(frozen=True, slots=True)
class UnitSample:
    """The records of some units, unit by unit."""

    units: tuple[tuple[CaptionRecord, ...], ...]
    damaged: int


def extent_of(store: ObjectStore, spec: JobSpec) -> Extent:
    """What is written of a job now; costs two small objects and two listings."""
    below = min(max(_watermark(store, spec), _ended_below(store, spec)), spec.units)
    if below == spec.units:
        return Extent(below, frozenset())
    after = layout.captions(spec.job, below - 1) if below else None
    listed = store.list(layout.captions_prefix(spec.job), start_after=after, limit=_ABOVE)
    return Extent(below, frozenset(unit for unit in map(_unit, (info.key for info in listed)) if unit is not None))


def extent_at_end(store: ObjectStore, spec: JobSpec, ended: Ended) -> Extent:
    """The same for a job whose end is about to be written: nothing is missing unless it was cancelled."""
    return extent_of(store, spec) if ended.state is JobState.CANCELLED else Extent(spec.units, frozenset())


def _watermark(store: ObjectStore, spec: JobSpec) -> int:
    try:
        return Progress.from_bytes(store.get(layout.progress(spec.job))).watermark
    except ObjectMissing:
        return 0


def _ended_below(store: ObjectStore, spec: JobSpec) -> int:
    """Units below this one were written or dead when a generation ended; those of an extension come after them."""
    keys = [info.key for info in store.list(layout.ended_prefix(spec.job))]
    if not keys:
        return 0
    ended = Ended.from_bytes(store.get(keys[-1]))
    return 0 if ended.state is JobState.CANCELLED else unit_of(spec, min(ended.planned, spec.captions) - 1) + 1


def read_units(store: ObjectStore, readers: Executor, spec: JobSpec, extent: Extent) -> UnitSample:
    """The first units in spread order, as many as the bounds allow; a dead unit without captions is passed over."""
    wanted = min(UNITS, max(1, CAPTIONS // spec.captions_per_unit))
    order = (unit for unit in spread(extent.bound) if extent.holds(unit))
    found: list[tuple[CaptionRecord, ...]] = []
    damaged, tries = 0, 2 * wanted
    for batch in _batches(order, min(_BATCH, wanted), tries):
        for records in readers.map(lambda unit: _read(store, spec, unit), batch):
            if records is None:
                damaged += 1
            elif records and len(found) < wanted:
                found.append(records)
        if len(found) >= wanted:
            break
    return UnitSample(tuple(found), damaged)


def _batches(order: Iterator[int], size: int, most: int) -> Iterator[Sequence[int]]:
    for start in range(0, most, size):
        batch = list(islice(order, min(size, most - start)))
        if not batch:
            return
        yield batch


def _read(store: ObjectStore, spec: JobSpec, unit: int) -> tuple[CaptionRecord, ...] | None:
    """The unit's records; empty if it has none, None if they cannot be believed."""
    key = layout.captions(spec.job, unit)
    try:
        records = tuple(read_jsonl(store.get(key)))
    except ObjectMissing:
        return ()
    except ValidationError as error:
        _log.error("captions_damaged", key=key, faults=error.error_count())
        return None
    return records


def _unit(key: str) -> int | None:
    try:
        return layout.parse_unit(key)[2]
    except ValueError:
        return None
