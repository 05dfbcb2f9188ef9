"""One id, and all that belongs to it: a run is backed up with its jobs."""

from __future__ import annotations

from collections.abc import Callable

from synfarm.contracts import layout
from synfarm.contracts.backups import BackupHead
from synfarm.housekeeping.backup.copying import Copied
from synfarm.housekeeping.backup.of_jobs import backup_job
from synfarm.housekeeping.backup.of_runs import backup_run
from synfarm.housekeeping.backup.shelf import Shelf
from synfarm.storage.protocol import ObjectStore

__all__ = ["back_up"]


def back_up(
    store: ObjectStore,
    name: str,
    shelf: Shelf,
    *,
    prove: bool = False,
    threads: int = 4,
    progress: Callable[[Copied], None] | None = None,
) -> list[BackupHead]:
    """Back up a job; or a run and then its jobs, in this order: a job only grows, so what the run names is in them.

    Raises:
        NoSuchJob, BackupRefused, BackupFailed, ManifestDamaged, StoreUnavailable, StoreRefused, OSError: as
            :func:`backup_job` and :func:`backup_run`. BackupRefused also while another one writes there.
    """
    with shelf.hold():
        if store.head(layout.run(name)) is None:
            return [backup_job(store, name, shelf, prove=prove, threads=threads, progress=progress)]
        run = backup_run(store, name, shelf, prove=prove, threads=threads, progress=progress)
        jobs = [backup_job(store, job, shelf, prove=prove, threads=threads, progress=progress) for job in run.jobs]
        return [run, *jobs]
