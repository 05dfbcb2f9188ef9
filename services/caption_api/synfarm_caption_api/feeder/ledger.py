"""What the store says of one job: which units are finished, the watermark, and the sums below it."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass

from pydantic import ValidationError

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.captions import read_jsonl
from synfarm.contracts.commits import Commit, Failure
from synfarm.contracts.jobs import JobSpec
from synfarm.contracts.layout import FAN
from synfarm.contracts.manifests import Counts, ManifestLine, ManifestPart, Progress
from synfarm.queue.rates import UnitTiming, timing_of
from synfarm.storage.group_columns import UnitColumns
from synfarm.storage.manifest_writer import create_part, recall_part
from synfarm.storage.protocol import ObjectInfo, ObjectMissing, ObjectStore
from synfarm.telemetry import get_logger
from synfarm_caption_api.feeder.reopening import FormerGeneration

__all__ = ["FinishedUnit", "Ledger", "units_of"]

_log = get_logger(__name__)

_PARTS_PER_CALL = 32
"""Parts of earlier leaders looked up in one pass; each is about a megabyte."""


@dataclass(frozen=True, slots=True)
class FinishedUnit:
    """A committed or dead unit as it was read from the store."""

    line: ManifestLine
    written: int
    draws: int
    rejections: dict[str, int]
    timing: UnitTiming | None = None
    columns: UnitColumns | None = None
    """Of a unit with a shard."""

    @property
    def counts(self) -> Counts:
        return self.line.counts


class Ledger:
    """One job's ledger in the memory of the leading feeder; bounded by the span and one manifest part."""

    def __init__(
        self, store: ObjectStore, spec: JobSpec, readers: Executor, *, span: int, part_units: int, reads: int
    ) -> None:
        self._store, self._readers = store, readers
        self._span, self._part_units, self._reads = span, part_units, reads
        self.spec = spec
        progress = self._load_progress()
        self.resumed = progress is not None and not progress.is_opening
        """An earlier feeder worked on this generation, so workers may be at its units."""
        self.watermark = progress.watermark if progress else 0
        self.counts = progress.counts if progress else Counts()
        self.draws = progress.draws if progress else 0
        self.rejections: Counter[str] = Counter(progress.rejections if progress else {})
        self.generation = progress.generation if progress else 1
        self.part_count = progress.parts if progress else 0
        self._parts: dict[int, ManifestPart] = {}
        self._finished: dict[int, FinishedUnit] = {}
        self._committed: set[int] = set()
        self._dead: set[int] = set()
        self._before = FormerGeneration(store, spec.job, self.generation - 1, part_units)
        self.closing = False
        """Nobody works on the job any more: what is missing stays missing, and the watermark passes over it."""
        self._listed_all = False

    @property
    def missing(self) -> int:
        """Units below the watermark that are neither committed nor dead: those of a cancelled job."""
        return self.watermark - self.counts.units_committed - self.counts.units_dead

    @property
    def base(self) -> int:
        """First unit that is in no written part."""
        return self.part_count * self._part_units

    @property
    def complete(self) -> bool:
        return self.watermark >= self.spec.units

    @property
    def all_read(self) -> bool:
        """Whether every finished unit that was listed has been read too."""
        return self._committed | self._dead <= self._finished.keys()

    def is_finished(self, unit: int) -> bool:
        """Committed or dead at the last listing."""
        return unit < self.watermark or unit in self._committed or unit in self._dead

    def refresh(self, frontier: int) -> list[FinishedUnit]:
        """List from the watermark on, read what is new, move the watermark; what was read, to be counted.

        Costs O(units between the watermark and ``frontier``), and after a change of leader one manifest part once.
        """
        lined_up = all(unit in self._finished for unit in range(self.base, self.watermark))
        start = self.watermark if lined_up else self.base
        self._list(start, frontier)
        fresh = self._read_new()
        for unit in fresh:
            self._finished[unit.line.unit] = unit
        while self.watermark in self._finished and self.watermark < self.spec.units:
            self._take(self._finished[self.watermark], 1)
            self.watermark += 1
        if self.closing and self.all_read:
            self._pass_over()
        return fresh

    def _pass_over(self) -> None:
        listed = self._committed | self._dead
        end = self.spec.units if self._listed_all else max(listed, default=self.watermark - 1) + 1
        for unit in range(self.watermark, end):
            if unit in self._finished:
                self._take(self._finished[unit], 1)
        self.watermark = max(self.watermark, end)

    def above_watermark(self) -> list[FinishedUnit]:
        """Finished units that the sums below the watermark do not hold."""
        return [finished for unit, finished in self._finished.items() if unit >= self.watermark]

    def write_parts(self) -> list[FinishedUnit]:
        """Write every whole part below the watermark; units that came back from the dead meanwhile."""
        revived: list[FinishedUnit] = []
        while self.base + self._part_units <= self.watermark:
            units = range(self.base, self.base + self._part_units)
            there = [unit for unit in units if unit in self._finished]
            if len(there) < self._part_units and not (self.closing and self.all_read):
                break  # a new leader is still reading them
            revived += self._write_part(there)
        return revived

    def write_rest(self) -> bool:
        """Write the parts above the last whole one and look up those of earlier leaders; False: call again."""
        unknown = [number for number in range(self.part_count) if number not in self._parts]
        for number in unknown[:_PARTS_PER_CALL]:
            self._parts[number] = recall_part(self._store, self.spec.job, self.generation, number)
        if len(unknown) > _PARTS_PER_CALL:
            return False
        while True:
            units = sorted(u for u in self._finished if u >= self.base)
            if not units:
                return True
            self._write_part([u for u in units if u < self.base + self._part_units])

    def parts(self) -> list[ManifestPart]:
        """All parts written, in order; call after :meth:`write_rest`."""
        return [self._parts[number] for number in sorted(self._parts)]

    def total(self) -> tuple[Counts, int, dict[str, int]]:
        """Counts, draws and rejections of all finished units, below the watermark and above."""
        counts, draws, rejections = self.counts, self.draws, Counter(self.rejections)
        for unit, finished in self._finished.items():
            if unit >= self.watermark:
                counts, draws = counts + finished.counts, draws + finished.draws
                rejections.update(finished.rejections)
        return counts, draws, dict(rejections)

    def save(self) -> None:
        """Write progress.json."""
        progress = Progress(
            job=self.spec.job,
            watermark=self.watermark,
            counts=self.counts,
            draws=self.draws,
            rejections=dict(self.rejections),
            parts=self.part_count,
            generation=self.generation,
            as_of=utc_now(),
        )
        self._store.put(layout.progress(self.spec.job), progress.to_bytes(), content_type="application/json")

    def _load_progress(self) -> Progress | None:
        try:
            return Progress.from_bytes(self._store.get(layout.progress(self.spec.job)))
        except ObjectMissing:
            return None

    def _list(self, start: int, frontier: int) -> None:
        job = self.spec.job
        after = layout.commit(job, start - 1) if start else None
        # So many keys are all that can lie below the end of the span, where the units end that may be sent.
        limit = self.watermark - start + self._span
        listed = self._store.list(layout.commits_prefix(job), start_after=after, limit=limit)
        keys = list(listed)
        self._committed = set(units_of(keys))
        self._listed_all = len(keys) < limit
        top = min(max(self._committed | {frontier}), self.watermark + self._span)
        self._dead = set()
        for fan in range(start // FAN, top // FAN + 1):
            after = layout.failure(job, start - 1) if start // FAN == fan and start % FAN else None
            self._dead |= set(units_of(self._store.list(layout.failures_fan_prefix(job, fan), start_after=after)))
        self._dead -= self._committed

    def _read_new(self) -> list[FinishedUnit]:
        def is_new(unit: int) -> bool:
            known = self._finished.get(unit)
            # A commit outranks the dead letter that was read before it, as long as the unit is above the watermark.
            return known is None or (known.line.status == "dead" and unit in self._committed and unit >= self.watermark)

        new = sorted(unit for unit in self._committed | self._dead if unit >= self.base and is_new(unit))
        remembered = {unit: told for unit in new if (told := self._remembered(unit)) is not None}
        unknown = [unit for unit in new if unit not in remembered]
        return [*remembered.values(), *self._readers.map(self._read, unknown[: self._reads])]

    def _remembered(self, unit: int) -> FinishedUnit | None:
        """A unit that the generation before has as committed, if it tells all that its commit would."""
        line = self._before.line(unit)
        if line is None or line.status != "committed":
            return None
        columns = self._before.columns(unit) if line.shard is not None else None
        if line.shard is not None and columns is None:
            return None
        return FinishedUnit(line, line.groups, 0, {}, columns=columns)

    def _read(self, unit: int) -> FinishedUnit:
        """One unit's outcome; a commit wins over a dead letter."""
        job = self.spec.job
        if unit in self._committed:
            return self._committed_unit(self._store.get(layout.commit(job, unit)))
        failure = Failure.from_bytes(self._store.get(layout.failure(job, unit)))
        line = ManifestLine(unit=unit, status="dead", reason=failure.reason)
        try:
            sums = self._caption_sums(unit)
        except ValidationError as error:
            # They may be what it died of; the others must not wait for them.
            _log.warning("captions_unreadable", job=job, unit=unit, error=str(error))
            sums = 0, 0, {}
        return FinishedUnit(line, *sums)

    def _committed_unit(self, data: bytes) -> FinishedUnit:
        commit = Commit.from_bytes(data)
        timing, columns = timing_of(commit, self.spec.render), UnitColumns.of(commit, hashlib.sha256(data).hexdigest())
        return FinishedUnit(ManifestLine.of(commit), *self._caption_sums(commit.unit), timing, columns)

    def _caption_sums(self, unit: int) -> tuple[int, int, dict[str, int]]:
        """Captions written, draws and rejections of a unit; zero if it died before its captions were written.

        Draws and rejections that the generation before counted are zero here: its sums are what this one began with.
        Captions written are summed anew by every generation.
        """
        try:
            records = read_jsonl(self._store.get(layout.captions(self.spec.job, unit)))
        except ObjectMissing:
            return 0, 0, {}
        written = sum(record.text is not None for record in records)
        if self._before.counted_captions(unit):
            return written, 0, {}
        rejections: Counter[str] = Counter()
        for record in records:
            rejections.update({reason.value: count for reason, count in record.rejections.items()})
        return written, sum(record.draws for record in records), dict(rejections)

    def _take(self, unit: FinishedUnit, sign: int) -> None:
        signed = {name: sign * getattr(unit.counts, name) for name in Counts.model_fields}
        self.counts = Counts(**{name: getattr(self.counts, name) + value for name, value in signed.items()})
        self.draws += sign * unit.draws
        for reason, count in unit.rejections.items():
            self.rejections[reason] += sign * count

    def _write_part(self, units: list[int]) -> list[FinishedUnit]:
        revived = []
        for unit in units:
            old = self._finished[unit]
            if old.line.status == "dead" and self._store.head(layout.commit(self.spec.job, unit)) is not None:
                self._committed.add(unit)
                self._finished[unit] = self._read(unit)
                if unit < self.watermark:
                    self._take(old, -1)
                    self._take(self._finished[unit], 1)
                    revived.append(self._finished[unit])
        lines = [self._finished[unit].line for unit in units]
        number = self.part_count
        columns = {unit: told for unit in units if (told := self._finished[unit].columns) is not None}
        self._parts[number] = create_part(self._store, self.spec.job, self.generation, number, lines, columns)
        self.part_count += 1
        for unit in units:
            if unit < self.watermark:
                del self._finished[unit]
        return revived


def units_of(listed: Iterable[ObjectInfo]) -> Iterator[int]:
    """Units of listed keys; a file that somebody else put there is no unit."""
    for info in listed:
        try:
            yield layout.parse_unit(info.key)[2]
        except ValueError:
            _log.warning("not_a_unit", key=info.key)
