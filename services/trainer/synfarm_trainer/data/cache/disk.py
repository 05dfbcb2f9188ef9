"""Whole shards on a node's disk, bounded in bytes, for all ranks and runs that name the same folder.

A shard is a file named by its content's hash; it appears by a rename, so nobody sees half of one. It is not synced:
readers prove each group that they take, so that a file torn by a power cut is found, dropped and fetched again like
one that has rotted. Room is made before a shard is written, under one lock, by dropping what was used longest ago.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from synfarm.contracts.commits import ShardRef
from synfarm.telemetry import get_logger
from synfarm_trainer.data.cache.counts import ReadCounts
from synfarm_trainer.data.cache.locks import ByteLocks, try_lock

__all__ = ["DiskCache"]

_log = get_logger(__name__)
_NO_DRAFT = {errno.ENOENT, errno.ELOOP, errno.EISDIR}
"""It is gone, or it is a link or a folder, which nobody of ours has made."""
_FULL = {errno.ENOSPC, errno.EDQUOT}
_ROOM = 0
"""The lock of making room; those of shards lie above it."""
_ROOM_SECONDS = 30.0
_FETCH_SECONDS = 120.0
"""After so long a reader fetches for itself what another process is fetching: it may have been stopped."""
_USED_SECONDS = 60.0
"""A shard's time of use is kept to about a minute, so that reading writes little."""
_REST_SECONDS = 30.0
"""After a shard that the disk did not take, the next ones are not tried for so long."""
_SPARE_SHARE, _SPARE_BYTES = 0.05, 4 << 30
"""What is left free of the file system, the lesser of the two: journals and checkpoints may be written there too."""


class _NoRoom(OSError):
    """All that may be dropped has been, and the shard still does not fit."""


class _Kept(NamedTuple):
    used_at: float
    size: int
    path: Path


class DiskCache:
    """One folder; thread-safe, and safe beside other processes that use it, killed ones too."""

    def __init__(self, folder: Path, max_bytes: int, counts: ReadCounts) -> None:
        """
        Args:
            max_bytes: of all shards in the folder; where runs with several bounds share it, each keeps to its own.
        """
        self._folder, self._max, self.counts = folder, max_bytes, counts
        self._locks = ByteLocks(folder / "lock")
        self._tried_again_at = 0.0
        self._told = False

    @property
    def max_bytes(self) -> int:
        return self._max

    def _path(self, ref: ShardRef) -> Path:
        return self._folder / ref.sha256[:2] / f"{ref.sha256}.tar"

    def holds(self, ref: ShardRef) -> bool:
        try:
            status = self._path(ref).lstat()
            return stat.S_ISREG(status.st_mode) and status.st_size == ref.size
        except OSError:
            return False

    def read(self, ref: ShardRef, offset: int, length: int) -> bytes | None:
        """Those bytes as they lie there, for the caller to prove; None if the shard is not there or not readable."""
        try:
            # No link, and no pipe to be waited for: others may write here too, and each group is proven.
            handle = os.open(self._path(ref), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return None
        try:
            now = time.time()
            if now - os.fstat(handle).st_mtime > _USED_SECONDS:
                with suppress(PermissionError):  # another user's
                    os.utime(handle, (now, now))
            return os.pread(handle, length, offset)
        except OSError as error:
            # Away with it: a shard that is there but gives nothing would be fetched for each of its groups.
            _log.warning("shard_cache_unreadable", key=ref.key, error=str(error))
            self.drop(ref)
            return None
        finally:
            os.close(handle)

    def drop(self, ref: ShardRef) -> None:
        """Away with a shard whose bytes are wrong."""
        _log.warning("shard_cache_damaged", key=ref.key)
        self.counts.add(disk_damaged=1)
        with suppress(OSError):
            self._path(ref).unlink()

    def claim(self, ref: ShardRef, pause: Callable[[float], None]) -> AbstractContextManager[object]:
        """Keep the node's other processes from fetching this shard too; over when it is here, or after two minutes.

        Raises:
            OSError: the folder cannot be used.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        return self._locks.hold(
            1 + int(ref.sha256[:15], 16), seconds=_FETCH_SECONDS, pause=pause, needless=lambda: self.holds(ref)
        )

    def put(self, ref: ShardRef, data: bytes) -> bool:
        """Keep a whole, proven shard; False, counted and told, if the disk does not take it."""
        if time.monotonic() < self._tried_again_at:
            self.counts.add(disk_falls=1)
            return False
        try:
            try:
                self._write(ref, data)
            except OSError as error:
                if error.errno not in _FULL or isinstance(error, _NoRoom):
                    raise
                # What is kept here makes way; whoever else fills the disk is not ours to judge.
                self._write(ref, data, full=True)
        except OSError as error:
            self.counts.add(disk_falls=1)
            self._tried_again_at = time.monotonic() + _REST_SECONDS
            if not self._told:
                self._told = True
                cure = "make room there, or name another folder by SYNFARM_TRAINER_CACHE_DIR"
                _log.warning("shards_stay_in_memory", folder=str(self._folder), error=str(error), cure=cure)
            return False
        self._told = False
        return True

    def _write(self, ref: ShardRef, data: bytes, *, full: bool = False) -> None:
        with self._draft(ref, len(data), full=full) as (handle, draft):
            view = memoryview(data)
            written = 0
            while written < len(view):
                written += os.pwrite(handle, view[written:], written)
            path = self._path(ref)
            _own_folder(path.parent)
            draft.rename(path)

    @contextmanager
    def _draft(self, ref: ShardRef, size: int, *, full: bool) -> Iterator[tuple[int, Path]]:
        """A file of its final length, which counts as kept from here on, locked as long as its writer lives."""
        drafts = self._folder / "new"
        self._folder.mkdir(parents=True, exist_ok=True)
        _own_folder(drafts)
        with self._locks.hold(_ROOM, seconds=_ROOM_SECONDS) as room:
            if room is None:
                raise TimeoutError(f"another process has held {self._folder}/lock for {_ROOM_SECONDS:g} s")
            kept = self._make_room(room, size, full=full)
            draft = drafts / f"{ref.sha256}.{os.getpid()}.{time.monotonic_ns()}"
            handle = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o644)
            try:
                try_lock(handle, 0)
                os.ftruncate(handle, size)
            except OSError:
                os.close(handle)
                draft.unlink(missing_ok=True)
                raise
            _write_total(room, kept + size)
        try:
            yield handle, draft
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        finally:
            os.close(handle)

    def _make_room(self, room: int, size: int, *, full: bool) -> int:
        """Bytes kept, drafts included, when ``size`` more fit. The lock file's number is a bound of it from above.

        Raises:
            OSError: they do not fit.
        """
        kept, short = _read_total(room), size - self._free()
        if kept is not None and kept + size <= self._max and short <= 0 and not full:
            return kept
        # Drafts first: one that becomes a shard meanwhile is then counted twice rather than not at all.
        kept = self._sweep()
        found = sorted(self._kept())
        kept += sum(item.size for item in found)
        # A little more than is needed, so that not every shard looks through the folder.
        goal = self._max if kept + size <= self._max else self._max - self._max // 16
        short = max(short, size if full else 0)
        for item in found:
            if kept + size <= goal and short <= 0:
                break
            with suppress(FileNotFoundError):
                item.path.unlink()
                kept, short = kept - item.size, short - item.size
                self.counts.add(evictions=1)
        _write_total(room, kept)
        if kept + size > self._max:
            raise _NoRoom(errno.ENOSPC, f"a shard of {size} bytes does not fit into data.cache_disk_mib")
        if short > 0:
            raise _NoRoom(errno.ENOSPC, "the file system is full, or nearly so")
        return kept

    def _free(self) -> int:
        """Bytes that may still be written here."""
        system = os.statvfs(self._folder)
        spare = min(int(_SPARE_SHARE * system.f_blocks * system.f_frsize), _SPARE_BYTES)
        return system.f_bavail * system.f_frsize - spare

    def _kept(self) -> Iterator[_Kept]:
        for folder in self._folder.glob("[0-9a-f][0-9a-f]"):
            # What lies behind a link is another's, and would be dropped.
            for path in () if folder.is_symlink() else folder.glob("*.tar"):
                with suppress(FileNotFoundError):
                    status = path.lstat()
                    yield _Kept(status.st_mtime, status.st_size, path)

    def _sweep(self) -> int:
        """Remove drafts of writers that are gone; bytes of those that live."""
        living = 0
        for path in (self._folder / "new").iterdir():
            try:
                handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
            except OSError as error:
                if error.errno not in _NO_DRAFT:
                    raise
                continue
            try:
                if try_lock(handle, 0):
                    path.unlink(missing_ok=True)
                else:
                    living += os.fstat(handle).st_size
            finally:
                os.close(handle)
        return living


def _own_folder(folder: Path) -> None:
    """Make it; a link in its place leads to another's files, among which nothing is to be written or dropped."""
    if folder.is_symlink():
        folder.unlink()
    folder.mkdir(exist_ok=True)


def _read_total(room: int) -> int | None:
    text = os.pread(room, 32, 0)
    return int(text) if text.isdigit() else None


def _write_total(room: int, total: int) -> None:
    # Of one length, and the lock's bytes are locked whether they are there or not.
    os.pwrite(room, b"%020d" % total, 0)
