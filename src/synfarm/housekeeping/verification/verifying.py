"""`synfarm verify`: walks through a job once, a shard at a time in each thread, and notes everything that is wrong."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from pydantic import ValidationError

from synfarm.contracts import layout
from synfarm.contracts.commits import Failure
from synfarm.contracts.housekeeping import Fault, Finding, Verification
from synfarm.contracts.jobs import JobState
from synfarm.contracts.manifests import Counts
from synfarm.contracts.purposes import Purpose
from synfarm.contracts.randomness import bits, key_of, text_id, uniform
from synfarm.housekeeping.job_record import JobRecord, read_job
from synfarm.housekeeping.verification.manifest_check import ManifestCheck, differing, line_fault
from synfarm.housekeeping.verification.unit_check import BACKUP, UnitCheck, UnitReport
from synfarm.housekeeping.verification.unit_walk import KnownUnit, walk_units
from synfarm.storage.protocol import ObjectMissing, ObjectStore

__all__ = ["Passed", "verify"]

_KEPT = 5000
"""Findings kept; a job that lost everything must not fill the memory."""
_AHEAD = 2
"""Units a thread that wait for it, so that it never waits for the listing."""


@dataclass(frozen=True, slots=True)
class Passed:
    """How far a verification has come."""

    units: int
    """Behind it, of ``of``."""
    of: int
    images: int
    bytes: int
    findings: int


def verify(
    store: ObjectStore,
    job: str,
    *,
    share: float = 1.0,
    seed: int = 0,
    threads: int = 4,
    progress: Callable[[Passed], None] | None = None,
) -> Verification:
    """Check every hash, count and image of a job; of one that runs, what is committed so far.

    Args:
        share: of the committed units, in (0, 1]; which of them, ``seed`` decides.
        threads: each holds one shard in memory.
        progress: called after each unit, in this thread.

    Raises:
        NoSuchJob: there is none.
        StoreUnavailable, StoreRefused: the store is away.
    """
    return _Walk(store, read_job(store, job), share, seed, progress).run(threads)


class _Walk:
    def __init__(
        self,
        store: ObjectStore,
        record: JobRecord,
        share: float,
        seed: int,
        progress: Callable[[Passed], None] | None,
    ) -> None:
        self._store, self._record, self._spec = store, record, record.spec
        self._share, self._key, self._job_id = share, key_of(seed, Purpose.VERIFY), text_id(record.spec.job)
        self._progress = progress
        self._findings: list[Finding] = []
        self._total = 0
        self._manifest = ManifestCheck(store, record, self._tell)
        self._counts = Counts()
        self._counted = True
        """Every unit's counts are known, so that they can be compared with the end record's."""
        self._checked = self._images = self._bytes = 0
        self._next = 0
        """First unit of which nothing has been said yet."""

    def run(self, threads: int) -> Verification:
        self._manifest.older()
        check = UnitCheck(self._store, self._spec)
        pool = ThreadPoolExecutor(threads, "verify")
        waiting: deque[tuple[KnownUnit, Future[UnitReport]]] = deque()
        try:
            for known in self._units():
                if known.committed and self._chosen(known.unit):
                    waiting.append((known, pool.submit(check.check, known.unit)))
                else:
                    self._unread(known)
                while len(waiting) > threads * _AHEAD:
                    self._settle(*waiting.popleft())
            while waiting:
                self._settle(*waiting.popleft())
        finally:
            pool.shutdown(cancel_futures=True)
        self._gap(self._spec.units)
        self._compare_totals()
        return self._result()

    def _units(self) -> Iterator[KnownUnit]:
        def foreign(key: str) -> None:
            told = "no synfarm writes such an object there"
            self._tell(Finding(fault=Fault.OBJECT_FOREIGN, key=key, what=told, todo="Remove it by hand."))

        for known in walk_units(self._store, self._spec.job, self._manifest.lines(), foreign=foreign):
            self._gap(known.unit)
            self._next = known.unit + 1
            yield known

    def _chosen(self, unit: int) -> bool:
        return self._share >= 1 or uniform(bits(self._key, self._job_id, unit)) < self._share

    def _gap(self, unit: int) -> None:
        """Units before ``unit`` of which no listing knows; those that a cancelled job never made are none."""
        manifest = self._manifest
        if manifest.ended is not None:
            end = 0 if manifest.ended.state is JobState.CANCELLED else self._spec.units if self._is_final else 0
        else:
            end = manifest.watermark
        first, last = self._next, min(unit, end) - 1
        if first > last:
            return
        which = f"unit {first} is" if first == last else f"units {first} to {last} are"
        told = f"{which} neither committed nor dead"
        key = layout.commit(self._spec.job, first)
        self._tell(Finding(fault=Fault.UNIT_MISSING, unit=first, key=key, what=told, todo=BACKUP))
        self._counted = False

    @property
    def _is_final(self) -> bool:
        return self._record.has_ended

    def _unread(self, known: KnownUnit) -> None:
        """A unit whose commit is not read: it has none, or is not in the sample."""
        line, job = known.line, self._spec.job
        if known.committed:
            self._counted = False
            if line is not None and line.status == "committed":
                self._count_line(known)
            self._late(known)
        elif line is not None and line.status == "committed":
            told = "the manifest has the unit as committed, and its commit is gone"
            self._at_unit(known.unit, Fault.COMMIT_MISSING, layout.commit(job, known.unit), told, BACKUP)
            self._count_line(known)
        elif known.dead or line is not None:
            self._counts += Counts(units_dead=1)
            self._check_letter(known)
        self._tell_progress()

    def _count_line(self, known: KnownUnit) -> None:
        if known.line is not None:
            self._counts += known.line.counts

    def _check_letter(self, known: KnownUnit) -> None:
        key, line = layout.failure(self._spec.job, known.unit), known.line
        try:
            Failure.from_bytes(self._store.get(key))
        except ObjectMissing:
            if self._is_final:  # of a job that runs, a retry may just have taken it back
                told = "the manifest has the unit as dead, and its dead letter is gone"
                self._at_unit(known.unit, Fault.UNIT_MISSING, key, told, BACKUP)
        except ValidationError as error:
            told = f"not a dead letter: {error.error_count()} faults"
            self._at_unit(known.unit, Fault.LETTER_UNREADABLE, key, told, BACKUP)
        if self._is_final and line is None and self._manifest.whole:
            told = "the unit is dead, and the manifest does not have it"
            self._at_unit(known.unit, Fault.MANIFEST_DISAGREES, key, told, BACKUP)

    def _settle(self, known: KnownUnit, future: Future[UnitReport]) -> None:
        report, line = future.result(), known.line
        for finding in report.findings:
            self._tell(finding)
        self._checked += 1
        self._images += report.images
        self._bytes += report.bytes_read
        if self._late(known):
            pass  # the end record cannot have counted it
        elif report.commit is not None:
            self._counts += report.counts
            if line is not None and (what := line_fault(line, report.commit)) is not None:
                key = layout.commit(self._spec.job, known.unit)
                self._at_unit(known.unit, Fault.MANIFEST_DISAGREES, key, what, BACKUP)
        elif line is not None:
            self._count_line(known)
        else:
            self._counted = False
        self._tell_progress()

    def _late(self, known: KnownUnit) -> bool:
        """A commit of which the manifest, written before it, knows nothing: allowed, and yet nobody sees its images."""
        line, manifest = known.line, self._manifest
        absent = line is None and self._is_final and manifest.ended is not None and manifest.whole
        if not absent and (line is None or line.status == "committed"):
            return False
        told = "committed after the manifest was written: training does not see its images"
        todo = "`synfarm jobs extend` opens a generation that counts it; nothing is lost if you leave it."
        self._at_unit(known.unit, Fault.COMMIT_LATE, layout.commit(self._spec.job, known.unit), told, todo)
        if line is not None:
            self._counts += Counts(units_dead=1)  # as the manifest has it
        return True

    def _compare_totals(self) -> None:
        ended = self._manifest.ended
        if ended is None or not self._is_final or not self._counted or self._total:
            # What was found tells why sums differ; the same once more as sums would only hide it.
            return
        if self._counts != ended.counts:
            key = layout.ended(self._spec.job, self._record.generation)
            told = f"its totals are not what is there: {differing(self._counts, ended.counts)}"
            self._tell(Finding(fault=Fault.ENDED_WRONG, key=key, what=told, todo=BACKUP))

    def _at_unit(self, unit: int, fault: Fault, key: str, what: str, todo: str) -> None:
        self._tell(Finding(fault=fault, unit=unit, key=key, what=what, todo=todo))

    def _tell(self, finding: Finding) -> None:
        self._total += 1
        if len(self._findings) < _KEPT:
            self._findings.append(finding)

    def _tell_progress(self) -> None:
        if self._progress is not None:
            self._progress(Passed(self._next, self._spec.units, self._images, self._bytes, self._total))

    def _result(self) -> Verification:
        ended = self._manifest.ended
        final = ended is not None and self._is_final
        order = sorted(self._findings, key=lambda finding: (-1 if finding.unit is None else finding.unit, finding.key))
        return Verification(
            job=self._spec.job,
            generation=self._record.generation,
            state=ended.state.value if final and ended is not None else "running",
            planned=self._spec.captions,
            counts=self._counts,
            units_checked=self._checked,
            images_checked=self._images,
            bytes_read=self._bytes,
            share=self._share,
            findings=tuple(order),
            findings_total=self._total,
        )
