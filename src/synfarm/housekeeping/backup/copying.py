"""Copies objects of a store to a backup, each proven by its hash where something names it."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from synfarm.housekeeping.backup.index import Index
from synfarm.housekeeping.backup.shelf import BackupFailed, Shelf
from synfarm.storage.protocol import ObjectMissing, ObjectStore

__all__ = ["Copied", "Copier"]


@dataclass(frozen=True, slots=True)
class Copied:
    """How far a backup or a restoration has come."""

    what: str
    objects: int
    bytes: int


class Copier:
    """One backup. Thread-safe."""

    def __init__(
        self,
        source: ObjectStore,
        shelf: Shelf,
        index: Index,
        *,
        what: str,
        threads: int,
        progress: Callable[[Copied], None] | None,
    ) -> None:
        self.source, self.shelf, self._index = source, shelf, index
        self._what, self._threads, self._progress = what, threads, progress

    def copy(self, phase: int, key: str) -> bytes | None:
        """An object as it is now, over what the backup has of it; None: it is gone."""
        try:
            data = self.source.get(key)
        except ObjectMissing:
            return None
        self.keep(phase, key, data)
        return data

    def keep(self, phase: int, key: str, data: bytes) -> None:
        """Bytes that were read already."""
        if not self.has(key, data):
            self.shelf.put(key, data)
        self.note(phase, key, len(data), hashlib.sha256(data).hexdigest())

    def has(self, key: str, data: bytes) -> bool:
        """Whether the backup holds exactly this."""
        return self.shelf.size(key) == len(data) and self.shelf.get(key) == data

    def proven(self, phase: int, key: str, sha256: str, *, prove: bool) -> None:
        """An object whose hash another one names.

        Args:
            prove: read what the backup has; else a file of the right place is believed, for it came there whole.

        Raises:
            BackupFailed: the source has other bytes, or none.
        """
        size = self.shelf.size(key)
        if size is not None and prove:
            there = self.shelf.get(key)
            size = size if there is not None and hashlib.sha256(there).hexdigest() == sha256 else None
        if size is None:
            data = self._read(key, sha256)
            self.shelf.put(key, data)
            size = len(data)
        self.note(phase, key, size, sha256)

    def note(self, phase: int, key: str, size: int, sha256: str) -> None:
        """The backup has it."""
        self._index.add(phase, key, size, sha256)
        if self._progress is not None:
            self._progress(Copied(self._what, self._index.objects, self._index.bytes))

    def each(self, work: Callable[[str], None], keys: Iterable[str]) -> None:
        """Do ``work`` for every key, some at a time."""
        waiting: deque[Future[None]] = deque()
        with ThreadPoolExecutor(self._threads, "backup") as pool:
            try:
                for key in keys:
                    waiting.append(pool.submit(work, key))
                    if len(waiting) >= 2 * self._threads:
                        waiting.popleft().result()
                while waiting:
                    waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def _read(self, key: str, sha256: str) -> bytes:
        for _ in range(2):  # damage on the way is gone the second time
            try:
                data = self.source.get(key)
            except ObjectMissing as error:
                raise BackupFailed(
                    f"{key} is gone, and a commit names it: `synfarm verify` says what to do."
                ) from error
            if hashlib.sha256(data).hexdigest() == sha256:
                return data
        raise BackupFailed(f"{key} has other bytes than were committed: `synfarm verify` says what to do.")
