"""Backs up a run, also while it trains: as if its machines were lost at that moment."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import ValidationError

from synfarm.contracts import layout
from synfarm.contracts.backups import BackupHead
from synfarm.contracts.runs import CheckpointCommit, RunSpec
from synfarm.housekeeping.backup.copying import Copied, Copier
from synfarm.housekeeping.backup.index import Index
from synfarm.housekeeping.backup.shelf import BackupFailed, Shelf
from synfarm.storage.protocol import ObjectMissing, ObjectStore

__all__ = ["NoSuchRun", "backup_run"]

_COMMIT = "commit.json"


class NoSuchRun(Exception):
    """There is no such run in the store."""


def backup_run(
    store: ObjectStore,
    run: str,
    shelf: Shelf,
    *,
    prove: bool = False,
    threads: int = 4,
    progress: Callable[[Copied], None] | None = None,
) -> BackupHead:
    """Copy a run without its jobs; back these up after it, for a job only grows.

    Raises:
        NoSuchRun, BackupFailed, StoreUnavailable, StoreRefused, OSError
    """
    try:
        spec = RunSpec.from_bytes(store.get(layout.run(run)))
    except ObjectMissing:
        raise NoSuchRun(f"there is no run {run} in this store.") from None
    except ValidationError as error:
        raise BackupFailed(f"{layout.run(run)} cannot be read: {error}") from error
    last = (layout.run_stop(run), layout.run_ended(run), layout.run(run))
    with Index() as index:
        copier = Copier(store, shelf, index, what=f"run {run}", threads=threads, progress=progress)
        # The end names results, a checkpoint a position that a segment and an attempt explain: seen before these.
        ended = [key for key in last[:2] if store.head(key) is not None]
        commits = [info.key for info in store.list(layout.checkpoints_prefix(run)) if info.key.endswith(f"/{_COMMIT}")]
        copier.each(lambda key: _checkpoint(copier, key, prove), commits)
        below = layout.checkpoints_prefix(run)
        others = [info.key for info in store.list(layout.run_prefix(run))]
        for key in others:
            if key not in last and not key.startswith(below):
                copier.copy(0, key)
        for key in (*ended, layout.run(run)):
            copier.copy(2, key)
        return index.write(shelf, "run", run, jobs=tuple(dict.fromkeys(dataset.job for dataset in spec.datasets)))


def _checkpoint(copier: Copier, key: str, prove: bool) -> None:
    """A whole checkpoint, or nothing of one that the run has deleted meanwhile."""
    try:
        data = copier.source.get(key)
    except ObjectMissing:
        return
    try:
        files = CheckpointCommit.from_bytes(data).files
    except ValidationError as error:
        raise BackupFailed(f"{key} cannot be read: {error}") from error
    for file in files:
        if copier.source.head(file.key) is None:
            return
        try:
            copier.proven(0, file.key, file.sha256, prove=prove)
        except BackupFailed:
            if copier.source.head(key) is None:
                return
            raise
    copier.keep(1, key, data)
