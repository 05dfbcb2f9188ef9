"""`synfarm gc`: looks at one job after another, and removes what the design allows and nobody needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import ValidationError

from synfarm.contracts import layout
from synfarm.contracts.housekeeping import Collected
from synfarm.contracts.ids import check_ulid
from synfarm.contracts.tombstones import Tombstone
from synfarm.housekeeping.job_record import NoSuchJob, read_job
from synfarm.housekeeping.orphans import sweep_tars
from synfarm.housekeeping.purged_jobs import sweep_purged
from synfarm.housekeeping.removing import Remover
from synfarm.housekeeping.stale_checkpoints import sweep_checkpoints
from synfarm.housekeeping.stale_pins import sweep_pins
from synfarm.storage.manifest_reader import ManifestDamaged
from synfarm.storage.protocol import ObjectMissing, ObjectStore

__all__ = ["DAY", "Swept", "collect"]

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Swept:
    """How far a collection has come."""

    job: str
    jobs: int
    """Begun, that one included."""
    objects: int
    bytes: int


def collect(
    store: ObjectStore,
    *,
    job: str | None = None,
    after: str | None = None,
    older_than: timedelta = DAY,
    now: datetime | None = None,
    delete: bool,
    progress: Callable[[Swept], None] | None = None,
) -> Collected:
    """Remove tars that no commit and no manifest needs, pins of runs that never were, rests of deleted jobs.

    Of all jobs, files of checkpoints that never came to be are removed too.

    Streams: memory does not grow with jobs or units. It may be killed at any moment and begun again: what is removed
    is gone, what is not is found again.

    Args:
        job: this one alone.
        after: jobs whose ids come later alone, to go on where another collection was stopped.
        older_than: what is younger stays. A worker may be at it: below a day only tests should go.
        now: by the *store's* clock, as the ages of objects are; by default it is asked.
        delete: False: look alone, and tell what would be removed.

    Raises:
        NoSuchJob: ``job`` is not in this store.
        StoreUnavailable, StoreRefused: the store is away, or does not tell its time.
    """
    as_of = store.now() if now is None else now
    at, begun = "", 0

    def told(objects: int, size: int) -> None:
        if progress is not None:
            progress(Swept(at, begun, objects, size))

    remover = Remover(store, before=as_of - older_than, delete=delete, progress=told)
    for name in [job] if job is not None else _jobs(store, after, remover):
        at, begun = name, begun + 1
        told(remover.objects, remover.bytes)
        _sweep(store, name, remover, named=job is not None)
    for run in _runs(store, remover) if job is None else ():
        sweep_checkpoints(run, remover)
    return Collected(
        deleted=delete,
        older_than_seconds=older_than.total_seconds(),
        as_of=as_of,
        jobs=begun,
        objects=remover.objects,
        bytes=remover.bytes,
        removals=tuple(remover.removals),
        notes=tuple(remover.notes),
    )


def _jobs(store: ObjectStore, after: str | None, remover: Remover) -> Iterator[str]:
    for name in sorted(store.list_folders(layout.jobs_prefix())):
        try:
            check_ulid(name)
        except ValueError:
            remover.note(f"{layout.jobs_prefix()}{name}/: no job's folder; it was left alone.")
            continue
        if after is None or name > after:
            yield name


def _runs(store: ObjectStore, remover: Remover) -> Iterator[str]:
    for name in sorted(store.list_folders(layout.runs_prefix())):
        try:
            yield check_ulid(name)
        except ValueError:
            remover.note(f"{layout.runs_prefix()}{name}/: no run's folder; it was left alone.")


def _sweep(store: ObjectStore, job: str, remover: Remover, *, named: bool) -> None:
    try:
        stone = Tombstone.from_bytes(store.get(layout.tombstone(job)))
    except ObjectMissing:
        pass
    except ValidationError:
        remover.note(f"{layout.tombstone(job)}: cannot be read; the job was left alone.")
        return
    else:
        if stone.purging:
            sweep_purged(job, remover)
        return
    try:
        record = read_job(store, job)
    except NoSuchJob:
        if named:
            raise
        # A submission whose answer was lost completes it when it is sent again: nobody knows that it will not.
        remover.note(f"{layout.job_prefix(job)}: objects without a job.json; they were left alone.")
        return
    except ManifestDamaged as error:
        remover.note(f"{error}; the job was left alone.")
        return
    # Pins last: what a pin needs stays, also if the pin itself goes in this very collection.
    sweep_tars(record, remover)
    sweep_pins(job, remover)
