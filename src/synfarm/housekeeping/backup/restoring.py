"""Brings a backup back into a store: every object proven, in the order in which a farm would have written it."""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from synfarm.contracts import layout
from synfarm.contracts.backups import BackupHead, BackupLine, Restored
from synfarm.housekeeping.backup.copying import Copied
from synfarm.housekeeping.backup.index import SHARED, indexes, read_head, read_lines
from synfarm.housekeeping.backup.shelf import BackupFailed, BackupRefused, Shelf
from synfarm.storage.protocol import ObjectStore

__all__ = ["restore"]

_LAST_PHASE = 2
_FROZEN = (".tar", ".safetensors")
"""Large objects that never change under their name: one of the right size was brought here before."""


def restore(
    shelf: Shelf,
    store: ObjectStore,
    names: tuple[str, ...] = (),
    *,
    threads: int = 4,
    progress: Callable[[Copied], None] | None = None,
) -> list[Restored]:
    """Restore jobs and runs by id, with no ids all that the backup holds whole; jobs first. Begun again it goes on.

    What the store has already is left as it is, whatever has become of it since the backup.

    Raises:
        BackupRefused: the job was deleted in this store; what it is made from is another thing here; or a run's jobs
            are neither here nor in the backup.
        BackupFailed: a file of the backup is gone or damaged, or its place does not answer.
        StoreUnavailable, StoreRefused: the store is away, or refuses.
    """
    found = [read_head(shelf, name) for name in names or indexes(shelf)]
    if not found:
        raise BackupFailed(f"{shelf.where} holds no whole backup: `synfarm backup JOB --to …` makes one.")
    done = []
    for head in sorted(found, key=lambda head: (head.kind != "job", head.id)):
        done.append(_Restoration(shelf, store, head, threads, progress).run())
    return done


class _Restoration:
    def __init__(
        self,
        shelf: Shelf,
        store: ObjectStore,
        head: BackupHead,
        threads: int,
        progress: Callable[[Copied], None] | None,
    ) -> None:
        self._shelf, self._store, self._head = shelf, store, head
        self._threads, self._progress = threads, progress
        self._written = self._bytes = 0
        self._lock = threading.Lock()

    def run(self) -> Restored:
        head = self._head
        if self._is_there():
            return Restored(kind=head.kind, id=head.id, objects=0, was_there=True)
        self._check()
        phase = 0
        waiting: deque[Future[None]] = deque()
        with ThreadPoolExecutor(self._threads, "restore") as pool:
            try:
                for line in read_lines(self._shelf, head.id):
                    if line.phase != phase or line.phase == _LAST_PHASE or len(waiting) >= 2 * self._threads:
                        least = 0 if line.phase != phase or line.phase == _LAST_PHASE else self._threads
                        while len(waiting) > least:
                            waiting.popleft().result()
                    phase = line.phase
                    self._before(line)
                    waiting.append(pool.submit(self._bring, line))
                while waiting:
                    waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()
        if head.active:
            self._store.create(layout.active(head.id), b"{}")
        return Restored(kind=head.kind, id=head.id, objects=self._written)

    def _is_there(self) -> bool:
        """Whether it was restored to its end, or never lost. Of a job whose mark alone is missing the mark is made."""
        head, store = self._head, self._store
        if head.kind == "run":
            return store.head(layout.run(head.id)) is not None
        if store.head(layout.tombstone(head.id)) is not None:
            raise BackupRefused(f"job {head.id} was deleted in this store, and stays deleted: restore it elsewhere.")
        if store.head(layout.job(head.id)) is None:
            return False
        if head.active and store.head(layout.ended(head.id, head.generation)) is None:
            store.create(layout.active(head.id), b"{}")
        return True

    def _check(self) -> None:
        for job in self._head.jobs:
            if self._store.head(layout.job(job)) is None or self._store.head(layout.tombstone(job)) is not None:
                raise BackupRefused(
                    f"run {self._head.id} trains on job {job}, which is not in this store, or is being deleted: "
                    "restore it first."
                )

    def _before(self, line: BackupLine) -> None:
        """A run's jobs are pinned before it is there."""
        if line.key == layout.run(self._head.id):
            for job in self._head.jobs:
                self._store.create(layout.pin(job, self._head.id), b"{}")

    def _bring(self, line: BackupLine) -> None:
        is_new = self._bring_shared(line) if line.key.startswith(SHARED) else self._bring_own(line)
        with self._lock:
            self._written += is_new
            self._bytes += line.size
            told = Copied(f"{self._head.kind} {self._head.id}", self._written, self._bytes)
        if self._progress is not None:
            self._progress(told)

    def _bring_own(self, line: BackupLine) -> bool:
        there = self._store.head(line.key) if line.key.endswith(_FROZEN) else None
        if there is not None and there.size == line.size:
            return False
        self._store.put(line.key, self._proven(line))
        return True

    def _bring_shared(self, line: BackupLine) -> bool:
        """Jobs of this store may stand on what is there under the key."""
        data = self._proven(line)
        if self._store.create(line.key, data):
            return True
        if self._store.get(line.key) != data:
            raise BackupRefused(
                f"job {self._head.id} is made from {line.key}, another one in this store: restore it elsewhere."
            )
        return False

    def _proven(self, line: BackupLine) -> bytes:
        # Its size first: what has become huge is not read at all.
        size = self._shelf.size(line.key)
        data = self._shelf.get(line.key) if size == line.size else b""
        if size is None or data is None:
            raise BackupFailed(f"{self._shelf.where}: {line.key} is gone from the backup.")
        if size != line.size or hashlib.sha256(data).hexdigest() != line.sha256:
            raise BackupFailed(
                f"{self._shelf.where}: {line.key} is not what was backed up. Where the store is still there, "
                f"`synfarm backup {self._head.id} --prove` copies it anew."
            )
        return data
