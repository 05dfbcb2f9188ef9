"""The end records and manifests of a job: every hash, the sums, and the lines against what is committed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from pydantic import ValidationError

from synfarm.contracts import layout
from synfarm.contracts.commits import Commit
from synfarm.contracts.housekeeping import Fault, Finding
from synfarm.contracts.manifests import Counts, Ended, ManifestLine, ManifestPart, Progress, read_part
from synfarm.housekeeping.job_record import JobRecord
from synfarm.housekeeping.verification.unit_check import BACKUP
from synfarm.storage.columns_file import read_columns
from synfarm.storage.group_columns import split_units
from synfarm.storage.manifest_reader import ManifestDamaged, part_lines, read_ended
from synfarm.storage.protocol import ObjectMissing, ObjectStore, StoreDamaged

__all__ = ["ManifestCheck", "line_fault"]

Tell = Callable[[Finding], None]


class ManifestCheck:
    """Reads all generations; the lines of the newest one are given to who compares them with the commits."""

    def __init__(self, store: ObjectStore, record: JobRecord, tell: Tell) -> None:
        self._store, self._record, self._tell = store, record, tell
        self.ended: Ended | None = None
        """Of the newest generation; None: it has none that can be believed."""
        self.whole = True
        """Every part of the newest generation could be read."""
        self.counts = Counts()
        """Sums of the lines that were given."""
        self.watermark = 0
        """Of a job that runs."""

    def older(self) -> None:
        """Generations before the newest one: training runs may read them still."""
        newest = layout.ended(self._record.spec.job, self._record.generation)
        for key in self._record.ended_keys:
            if key == newest:
                continue
            if re.fullmatch(r"[0-9]{4}\.json", key.rpartition("/")[2]) is None:
                told = "no synfarm writes such an object there"
                self._tell(Finding(fault=Fault.OBJECT_FOREIGN, key=key, what=told, todo="Remove it by hand."))
            elif (ended := self._end_record(key)) is not None:
                counts = Counts()
                for _, lines in self._parts(ended):
                    counts = sum((line.counts for line in lines), counts)
                self._compare(key, counts, ended.counts, whole=self.whole)
                self.whole = True

    def lines(self) -> Iterator[ManifestLine]:
        """Lines of the newest generation that can be believed, in order of units."""
        spec, generation = self._record.spec, self._record.generation
        key = layout.ended(spec.job, generation)
        if key not in self._record.ended_keys:
            yield from self._lines_so_far()
            return
        self.ended = self._end_record(key)
        if self.ended is None:
            self.whole = False
            return
        last = -1
        for part_key, lines in self._parts(self.ended):
            for line in lines:
                if line.unit <= last:
                    self._damaged(part_key, f"unit {line.unit} stands after unit {last}", Fault.MANIFEST_DISAGREES)
                    self.whole = False
                    return
                last = line.unit
                self.counts += line.counts
                yield line
        self._compare(key, self.counts, self.ended.counts, whole=self.whole)
        if self._record.has_ended and self.ended.planned != spec.captions:
            told = f"it says {self.ended.planned} captions were planned; the job plans {spec.captions}"
            self._damaged(key, told, Fault.ENDED_WRONG)

    def _lines_so_far(self) -> Iterator[ManifestLine]:
        """Of a job that runs: parts that the feeder has written; no end record names their hashes yet."""
        job = self._record.spec.job
        try:
            progress = Progress.from_bytes(self._store.get(layout.progress(job)))
        except ObjectMissing:
            return
        except ValidationError as error:
            told = f"not a progress record: {error.error_count()} faults"
            self._damaged(layout.progress(job), told, Fault.MANIFEST_CHANGED)
            return
        if progress.generation != self._record.generation:
            return
        self.watermark = progress.watermark
        for number in range(progress.parts):
            key = layout.manifest_part(job, progress.generation, number)
            try:
                yield from read_part(self._store.get(key))
            except ObjectMissing:
                self._damaged(key, "the manifest part is gone", Fault.MANIFEST_MISSING)
            except ValidationError as error:
                told = f"a line cannot be read: {error.error_count()} faults"
                self._damaged(key, told, Fault.MANIFEST_CHANGED)

    def _end_record(self, key: str) -> Ended | None:
        try:
            return read_ended(self._store, key)
        except ManifestDamaged as error:
            self._damaged(error.key, error.what, Fault.ENDED_WRONG)
            return None

    def _parts(self, ended: Ended) -> Iterator[tuple[str, list[ManifestLine]]]:
        for part in ended.parts:
            try:
                lines = part_lines(self._store, part)
            except ManifestDamaged as error:
                gone = isinstance(error.__cause__, ObjectMissing)
                self._damaged(error.key, error.what, Fault.MANIFEST_MISSING if gone else Fault.MANIFEST_CHANGED)
                self.whole = False
                continue
            self._columns(part, lines)
            yield part.key, lines

    def _columns(self, part: ManifestPart, lines: list[ManifestLine]) -> None:
        """Every column of a part by its hash, and its units by the lines."""
        if part.columns is None:
            return
        key = part.columns.key
        try:
            units = split_units(read_columns(self._store, part.columns)[0])
        except ObjectMissing:
            self._damaged(key, "the columns of the manifest part are gone", Fault.MANIFEST_MISSING)
            return
        except (StoreDamaged, KeyError, ValueError) as error:
            self._damaged(key, f"{error}", Fault.MANIFEST_CHANGED)
            return
        told = {line.unit: (line.shard.sha256, line.groups) for line in lines if line.shard is not None}
        if {unit: (one.shard_sha256, len(one.offset)) for unit, one in units.items()} != told:
            self._damaged(key, "its units are not those of the manifest part", Fault.MANIFEST_DISAGREES)

    def _compare(self, key: str, found: Counts, told: Counts, *, whole: bool) -> None:
        if whole and found != told:
            self._damaged(key, f"its totals are not those of its manifest: {differing(found, told)}", Fault.ENDED_WRONG)

    def _damaged(self, key: str, what: str, fault: Fault) -> None:
        self._tell(Finding(fault=fault, key=key, what=what, todo=f"{BACKUP} Until then runs refuse the job."))


def differing(found: Counts, told: Counts) -> str:
    """The first sums that differ, in words."""
    pairs = [(name, getattr(found, name), getattr(told, name)) for name in Counts.model_fields]
    return ", ".join(f"{name} {one} counted, {other} told" for name, one, other in pairs if one != other)


def line_fault(line: ManifestLine, commit: Commit) -> str | None:
    """What a manifest line says otherwise than the commit of its unit."""
    pairs = (
        ("shard", line.shard, commit.shard),
        ("captions", line.groups, len(commit.groups)),
        ("images", line.images, commit.images),
        ("empty slots", line.empty, len(commit.empty)),
    )
    for name, told, found in pairs:
        if told != found:
            shown = [getattr(value, "key", value) for value in (told, found)]
            return f"{name}: the manifest has {shown[0]}, the commit {shown[1]}"
    return None
