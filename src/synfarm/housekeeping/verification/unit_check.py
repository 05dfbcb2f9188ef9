"""One committed unit: its commit against the plan, its captions, its shard."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field

from pydantic import ValidationError

from synfarm.contracts import layout
from synfarm.contracts.captions import CaptionRecord, read_jsonl
from synfarm.contracts.commits import Commit, EmptySlot, GroupRow
from synfarm.contracts.housekeeping import Fault, Finding
from synfarm.contracts.ids import caption_id
from synfarm.contracts.jobs import JobSpec
from synfarm.contracts.manifests import Counts, ManifestLine
from synfarm.housekeeping.verification.shard_check import shard_faults
from synfarm.storage.protocol import ObjectMissing, ObjectStore, StoreDamaged, StoreError, StoreUnavailable

__all__ = ["BACKUP", "UnitCheck", "UnitReport"]

BACKUP = "Restore it from a backup."
_REFILLED = f"{BACKUP} Until then training replaces its captions by others, and counts them."
_OURS = "Tell the authors of synfarm: a worker has written it so."


@dataclass(slots=True)
class UnitReport:
    """What was found at one unit."""

    unit: int
    commit: Commit | None = None
    """None: it cannot be believed."""
    findings: list[Finding] = field(default_factory=list)
    images: int = 0
    """Decoded."""
    bytes_read: int = 0

    @property
    def counts(self) -> Counts:
        """As the job's totals count the unit."""
        return Counts() if self.commit is None else ManifestLine.of(self.commit).counts

    def add(self, fault: Fault, key: str, what: str, todo: str) -> None:
        """Note a finding of this unit."""
        self.findings.append(Finding(fault=fault, unit=self.unit, key=key, what=what, todo=todo))


class UnitCheck:
    """Checks units of one job. Thread-safe; holds one shard in memory a thread."""

    def __init__(self, store: ObjectStore, spec: JobSpec) -> None:
        self._store, self._spec = store, spec

    def check(self, unit: int) -> UnitReport:
        """Read everything of a unit that was seen to be committed.

        Raises:
            StoreUnavailable, StoreRefused: the store is away, which says nothing about the unit.
        """
        report = UnitReport(unit)
        commit = self._commit(report)
        if commit is None:
            return report
        report.commit = commit
        rows, on_plan = self._sound_rows(report, commit)
        records = self._captions(report, commit, on_plan)
        if commit.shard is None:
            return report
        data = self._read(report, commit.shard.key, Fault.SHARD_MISSING, "the commit names it, and it is gone")
        if data is None:
            return report
        report.images = sum(len(row.members) - 1 for row in rows)
        whole = len(rows) == len(commit.groups)
        square = self._spec.source is None
        for wrong in shard_faults(data, commit.shard, rows, self._spec.render, records, all_rows=whole, square=square):
            todo = _REFILLED if wrong.fault is Fault.SHARD_CHANGED else _OURS
            report.add(wrong.fault, commit.shard.key, wrong.what, todo)
        return report

    def _read(self, report: UnitReport, key: str, missing: Fault, told: str) -> bytes | None:
        try:
            data = self._store.get(key)
        except ObjectMissing:
            report.add(missing, key, told, _REFILLED if missing is Fault.SHARD_MISSING else BACKUP)
            return None
        except StoreDamaged as error:
            report.add(Fault.OBJECT_UNREADABLE, key, str(error), "Look at the store's own health and logs.")
            return None
        except StoreUnavailable as error:
            if not self._store_lives():
                raise
            report.add(Fault.OBJECT_UNREADABLE, key, str(error), "Look at the store's own health and logs.")
            return None
        report.bytes_read += len(data)
        return data

    def _store_lives(self) -> bool:
        """One object that cannot be read among others that can is a finding; a store that is away is none."""
        try:
            self._store.get(layout.job(self._spec.job))
        except StoreError:
            return False
        return True

    def _commit(self, report: UnitReport) -> Commit | None:
        job, unit = self._spec.job, report.unit
        key = layout.commit(job, unit)
        data = self._read(report, key, Fault.COMMIT_MISSING, "it was listed, and it is gone")
        if data is None:
            return None
        try:
            commit = Commit.from_bytes(data)
        except ValidationError as error:
            report.add(Fault.COMMIT_UNREADABLE, key, f"not a commit: {error.error_count()} faults", BACKUP)
            return None
        foreign = None
        if (commit.job, commit.unit) != (job, unit):
            foreign = f"it is the commit of unit {commit.unit} of job {commit.job}"
        elif commit.shard is not None and commit.shard.key != layout.shard(job, unit, commit.shard.sha256):
            foreign = f"it names {commit.shard.key}, which is no tar of this unit with the hash that it names"
        if foreign is not None:
            report.add(Fault.COMMIT_FOREIGN, key, foreign, BACKUP)
            return None
        return commit

    def _sound_rows(self, report: UnitReport, commit: Commit) -> tuple[list[GroupRow], bool]:
        """The rows that may be read further, and whether the commit holds exactly what was planned.

        What is wrong with a row is told once: it is not looked at again in the tar.
        """
        fault = self._plan_fault(commit)
        if fault is not None:
            report.add(fault[0], layout.commit(commit.job, commit.unit), fault[1], BACKUP)
        job, endings = self._spec.job, self._endings()
        sound = [
            row
            for row in commit.groups
            if row.caption_id == caption_id(job, row.index)
            and [member.name for member in row.members] == [f"{row.caption_id}.{ending}" for ending in endings]
        ]
        return sound, fault is None

    def _endings(self) -> list[str]:
        render = self._spec.render
        return [*(f"{k}.{render.image_format}" for k in range(self._spec.images_per_caption)), "json"]

    def _plan_fault(self, commit: Commit) -> tuple[Fault, str] | None:
        spec, unit = self._spec, commit.unit
        if unit >= spec.units:
            return Fault.COMMIT_OFF_PLAN, f"the job has units 0 to {spec.units - 1}"
        slots: list[GroupRow | EmptySlot] = [*commit.groups, *commit.empty]
        twice = [name for name, count in Counter(slot.caption_id for slot in slots).items() if count > 1]
        if twice:
            indices = [slot.index for slot in slots if slot.caption_id == twice[0]]
            return Fault.CAPTION_TWICE, f"{twice[0]} stands at the captions {' and '.join(map(str, indices))}"
        for slot in slots:
            if slot.caption_id != caption_id(spec.job, slot.index):
                return Fault.COMMIT_OFF_PLAN, f"caption {slot.index} is called {slot.caption_id}"
        planned, found = list(spec.unit_range(unit)), sorted(slot.index for slot in slots)
        if planned != found:
            missing, beyond = sorted(set(planned) - set(found)), sorted(set(found) - set(planned))
            told = f"captions that are missing: {missing[:4]}" if missing else f"captions of other units: {beyond[:4]}"
            return Fault.COMMIT_OFF_PLAN, told
        indices = [row.index for row in commit.groups]
        if indices != sorted(indices):
            return Fault.COMMIT_OFF_PLAN, "its captions are not in their order"
        names = self._endings()
        for row in commit.groups:
            if [member.name for member in row.members] != [f"{row.caption_id}.{name}" for name in names]:
                return (
                    Fault.COMMIT_OFF_PLAN,
                    f"the files of {row.caption_id} are not its {len(names) - 1} images and JSON",
                )
        return None

    def _captions(self, report: UnitReport, commit: Commit, on_plan: bool) -> dict[int, CaptionRecord] | None:
        """Records by index; None: they cannot be believed, or there are none."""
        key = layout.captions(commit.job, commit.unit)
        data = self._read(report, key, Fault.CAPTIONS_MISSING, "the captions that were drawn are gone")
        if data is None:
            return None
        found = hashlib.sha256(data).hexdigest()
        if found != commit.captions_sha256:
            told = f"its sha256 is {found[:12]}…, drawn was {commit.captions_sha256[:12]}…"
            report.add(Fault.CAPTIONS_CHANGED, key, told, BACKUP)
            return None
        try:
            records = read_jsonl(data)
        except ValidationError as error:
            report.add(
                Fault.CAPTIONS_DISAGREE, key, f"a line is no caption record: {error.error_count()} faults", _OURS
            )
            return None
        if on_plan and (what := _captions_fault(commit, records)) is not None:
            report.add(Fault.CAPTIONS_DISAGREE, key, what, _OURS)
            return None
        return {record.index: record for record in records}


def _captions_fault(commit: Commit, records: list[CaptionRecord]) -> str | None:
    ids = {record.caption_id: record for record in records}
    if len(ids) != len(records):
        return "a caption id stands in it twice"
    kept = {record.caption_id for record in records if record.text is not None}
    drawn = {row.caption_id for row in commit.groups}
    if kept != drawn:
        return (
            f"{len(kept)} captions have a text, {len(drawn)} have images: {sorted(kept ^ drawn)[0]} is one or the other"
        )
    told = {slot.caption_id: slot.reason for slot in commit.empty}
    left = {record.caption_id: record.empty_reason for record in records if record.text is None}
    return None if told == left else "its empty slots are not those of the commit"
