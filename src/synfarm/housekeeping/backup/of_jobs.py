"""Backs up a job, also while a farm works on it.

Objects are written so that what names another comes after it: tar and captions, commit, manifest part, progress, end.
A copy that is made meanwhile must therefore *see* them the other way round: what is seen first is named by nothing that
is seen later. And it *writes* them in the farm's own order again, so that a copy that is cut short claims nothing that
it does not have.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain

from pydantic import ValidationError

from synfarm.contracts import layout
from synfarm.contracts.backups import BackupHead
from synfarm.contracts.commits import Commit
from synfarm.contracts.jobs import JobSpec
from synfarm.contracts.manifests import Progress
from synfarm.contracts.origins import CaptionFileRef
from synfarm.housekeeping.backup.copying import Copied, Copier
from synfarm.housekeeping.backup.index import Index
from synfarm.housekeeping.backup.shelf import BackupFailed, BackupRefused, Shelf
from synfarm.housekeeping.job_record import read_job
from synfarm.storage.protocol import ObjectMissing, ObjectStore

__all__ = ["backup_job"]


def backup_job(
    store: ObjectStore,
    job: str,
    shelf: Shelf,
    *,
    prove: bool = False,
    threads: int = 4,
    progress: Callable[[Copied], None] | None = None,
) -> BackupHead:
    """Copy a job; begun again it copies what is new.

    Args:
        prove: read every file of an earlier backup again, and copy those anew that have changed.
        threads: each holds one shard in memory.

    Raises:
        NoSuchJob: there is none, or it was deleted.
        BackupRefused: it was retried, extended or deleted meanwhile.
        BackupFailed: an object is damaged, or the backup's place does not answer.
        ManifestDamaged, StoreUnavailable, StoreRefused, OSError
    """
    record = read_job(store, job)
    seen = _Seen.of(store, job, record.generation)
    with Index() as index:
        copier = Copier(store, shelf, index, what=f"job {job}", threads=threads, progress=progress)
        for key in _origin(store, record.spec):
            copier.copy(0, key)
        committed = _Units(copier, prove)
        copier.each(committed.copy, (info.key for info in store.list(layout.commits_prefix(job))))
        # Captions of units that are not drawn yet were paid for, too. They are create-only: whenever they are seen.
        for info in store.list(layout.captions_prefix(job)):
            if not committed.has_captions(info.key):
                copier.copy(0, info.key)
        for key in seen.others:
            copier.copy(2, key)
        if seen.progress is not None:
            copier.keep(2, layout.progress(job), seen.progress)
        for key in (*seen.ended, layout.card(job), layout.webhook(job), layout.pause(job), layout.cancel(job)):
            copier.copy(2, key)
        copier.copy(2, layout.job(job))
        again = read_job(store, job)
        if again.generation != record.generation:
            raise BackupRefused(f"job {job} was retried or extended meanwhile: run the same command again.")
        return index.write(shelf, "job", job, active=not record.has_ended, generation=record.generation)


@dataclass(frozen=True, slots=True)
class _Seen:
    """All that names commits, as it was before the commits were listed."""

    ended: tuple[str, ...]
    progress: bytes | None
    others: tuple[str, ...]
    """Dead letters, manifest parts, openings."""

    @classmethod
    def of(cls, store: ObjectStore, job: str, generation: int) -> _Seen:
        ended = tuple(info.key for info in store.list(layout.ended_prefix(job)))
        progress = _get(store, layout.progress(job))
        parts = [info.key for info in store.list(layout.manifests_prefix(job))]
        if layout.ended(job, generation) not in ended:
            # A part of which progress does not know yet may still lack its columns; a feeder writes it again.
            known = 0 if progress is None else Progress.from_bytes(progress).parts
            end = layout.manifest_part(job, generation, known).removesuffix(".jsonl")
            parts = [key for key in parts if key < end]
        folders = (layout.failures_prefix(job), layout.retried_prefix(job), layout.openings_prefix(job))
        others = [info.key for folder in folders for info in store.list(folder)]
        return cls(ended, progress, (*others, *parts))


class _Units:
    """Copies committed units: the backup has a unit because it has its commit, as the store does."""

    def __init__(self, copier: Copier, prove: bool) -> None:
        self._copier, self._prove, self._lock = copier, prove, threading.Lock()
        self._known: defaultdict[int, bytearray] = defaultdict(lambda: bytearray(layout.FAN))
        """By folder: a byte a unit, where a set of numbers would take sixty."""

    def has_captions(self, key: str) -> bool:
        """Whether the captions of this key were copied with their unit; or it is a stray file, which nobody needs."""
        try:
            unit = layout.parse_unit(key)[2]
            return bool(self._known[unit // layout.FAN][unit % layout.FAN])
        except ValueError:
            return True

    def copy(self, key: str) -> None:
        """One unit by the key of its commit."""
        try:
            job, _, unit = layout.parse_unit(key)
        except ValueError:
            return  # a stray file is no unit
        data = self._copier.source.get(key)
        try:
            commit = Commit.from_bytes(data)
        except ValidationError as error:
            raise BackupFailed(f"{key} cannot be read ({error}): `synfarm verify {job}` says what to do.") from error
        if commit.shard is not None:
            self._copier.proven(0, commit.shard.key, commit.shard.sha256, prove=self._prove)
        captions = layout.captions(job, unit)
        if self._copier.source.head(captions) is not None:  # an imported unit has none
            self._copier.proven(0, captions, commit.captions_sha256, prove=self._prove)
        self._copier.keep(1, key, data)
        with self._lock:
            self._known[unit // layout.FAN][unit % layout.FAN] = 1


def _origin(store: ObjectStore, spec: JobSpec) -> Iterator[str]:
    """What the job is made from and does not hold itself."""
    if spec.recipe is not None:
        yield layout.recipe(spec.recipe.sha256)
    if isinstance(spec.captions_from, CaptionFileRef):
        of = spec.captions_from
        keys = (info.key for info in store.list(layout.upload_parts_prefix(of.owner, of.file)))
        yield from chain(keys, [layout.upload_commit(of.owner, of.file)])


def _get(store: ObjectStore, key: str) -> bytes | None:
    try:
        return store.get(key)
    except ObjectMissing:
        return None
