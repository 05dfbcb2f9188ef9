"""Where a backup lies: a folder, or another bucket. Keys are those of the store, and a file is there whole or not."""

from __future__ import annotations

import io
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from synfarm.housekeeping.exporting.destination import FolderDestination
from synfarm.housekeeping.exporting.opening import bucket_of, open_bucket
from synfarm.housekeeping.held_folder import held_folder
from synfarm.settings import ExportSettings, StoreSettings
from synfarm.storage.protocol import ObjectMissing, ObjectStore, StoreError

__all__ = ["BackupFailed", "BackupRefused", "FolderShelf", "Shelf", "StoreShelf", "is_plain", "open_shelf"]

_PART = ".synfarm-part"
_PIECE = 2**23


class BackupRefused(Exception):
    """It cannot be done there, or now; the message says what to do."""


class BackupFailed(Exception):
    """Something is damaged, or the place of the backup does not answer; the message names it."""


def is_plain(key: str) -> bool:
    """Whether it names one object below the root, for a file system as for a store."""
    parts = key.split("/")
    return key.isprintable() and not any(part in ("", ".", "..") or "\\" in part for part in parts)


class Shelf(Protocol):
    """A place of files by key. Thread-safe."""

    where: str
    """For people."""

    def hold(self) -> AbstractContextManager[None]:
        """Keep other writers away.

        Raises:
            BackupRefused: another backup is writing there.
        """

    def put(self, key: str, data: bytes) -> None: ...

    def put_file(self, key: str, path: Path) -> None:
        """As :meth:`put`, of a file that may be larger than memory."""

    def get(self, key: str) -> bytes | None:
        """The whole file; None: there is none."""

    def pieces(self, key: str) -> Iterator[bytes] | None:
        """The same, a few megabytes at a time."""

    def size(self, key: str) -> int | None: ...

    def list(self, prefix: str) -> Iterator[str]:
        """Keys in a folder, which ``prefix`` (ending with '/') names; not below it."""


class FolderShelf(Shelf):
    """Plain files below a folder. A link among them is nobody's of ours: nothing is read or written by it.

    A backup may be a stranger's, or lie where others write, too.
    """

    def __init__(self, root: Path) -> None:
        self._root, self.where = root, str(root)

    @contextmanager
    def hold(self) -> Iterator[None]:
        # Of two that write one file, one would put the other's in its place while it is half-written.
        self._root.mkdir(exist_ok=True)
        refused = BackupRefused(f"another backup writes to {self.where}: wait for it, or name another.")
        with held_folder(self._root, refused):
            yield

    def put(self, key: str, data: bytes) -> None:
        self._write(key, io.BytesIO(data))

    def put_file(self, key: str, path: Path) -> None:
        with path.open("rb") as file:
            self._write(key, file)

    def _write(self, key: str, source: BinaryIO) -> None:
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}{_PART}")
        # Never into what lies there: it may have another name elsewhere, or be open to others.
        part.unlink(missing_ok=True)
        with open(part, "xb", opener=_for_its_owner) as file:
            shutil.copyfileobj(source, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)

    def get(self, key: str) -> bytes | None:
        path = self._path(key)
        if self._size(path) is None:
            return None
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None

    def pieces(self, key: str) -> Iterator[bytes] | None:
        path = self._path(key)
        if self._size(path) is None:
            return None
        try:
            return _pieces_of(path.open("rb"))
        except FileNotFoundError:
            return None

    def size(self, key: str) -> int | None:
        return self._size(self._path(key))

    def _size(self, path: Path) -> int | None:
        try:
            status = path.lstat()
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(status.st_mode):
            raise _odd(path)
        return status.st_size

    def list(self, prefix: str) -> Iterator[str]:
        folder = self._path(prefix.rstrip("/"))
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            if path.is_file() and not path.is_symlink() and not path.name.endswith(_PART):
                yield prefix + path.name

    def _path(self, key: str) -> Path:
        if not is_plain(key):
            raise BackupFailed(f"{key[:200]!r} is no key of a store: it was not written, and nothing was read of it")
        *folders, name = key.split("/")
        folder = self._root
        for part in folders:
            folder = folder / part
            if folder.is_symlink():
                raise _odd(folder)
        return folder / name


def _odd(path: Path) -> BackupFailed:
    return BackupFailed(f"{path} is a link or no plain file, which `synfarm backup` never makes: remove it first")


def _pieces_of(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while data := file.read(_PIECE):
            yield data


def _for_its_owner(path: str, flags: int) -> int:
    """A job's webhook holds a secret."""
    return os.open(path, flags, 0o600)


@dataclass(frozen=True, slots=True)
class StoreShelf(Shelf):
    """Objects of another store, or of another prefix."""

    store: ObjectStore
    where: str

    def hold(self) -> AbstractContextManager[None]:
        return nullcontext()  # an object is there whole or not, whoever writes it

    def put(self, key: str, data: bytes) -> None:
        try:
            self.store.put(key, data)
        except StoreError as error:
            raise self._failed(error) from error

    def get(self, key: str) -> bytes | None:
        try:
            return self.store.get(key)
        except ObjectMissing:
            return None
        except StoreError as error:
            raise self._failed(error) from error

    def put_file(self, key: str, path: Path) -> None:
        try:
            self.store.put_file(key, path)
        except StoreError as error:
            raise self._failed(error) from error

    def pieces(self, key: str) -> Iterator[bytes] | None:
        size = self.size(key)
        return None if size is None else self._pieces(key, size)

    def _pieces(self, key: str, size: int) -> Iterator[bytes]:
        try:
            for offset in range(0, size, _PIECE):
                yield self.store.get_range(key, offset, min(_PIECE, size - offset))
        except StoreError as error:
            raise self._failed(error) from error

    def size(self, key: str) -> int | None:
        try:
            info = self.store.head(key)
        except StoreError as error:
            raise self._failed(error) from error
        return None if info is None else info.size

    def list(self, prefix: str) -> Iterator[str]:
        try:
            yield from [info.key for info in self.store.list(prefix) if "/" not in info.key.removeprefix(prefix)]
        except StoreError as error:
            raise self._failed(error) from error

    def _failed(self, error: StoreError) -> BackupFailed:
        return BackupFailed(
            f"{self.where} failed: {error}. The same command goes on when it answers; its server is that of "
            "SYNFARM_EXPORT_ENDPOINT, else the farm's."
        )


def open_shelf(
    place: str, farm: StoreSettings, given: ExportSettings, *, field: str = "--to", make: bool = True
) -> Shelf:
    """The folder or the bucket, as `synfarm export` takes them.

    Args:
        field: where the user wrote it.
        make: it is made if it is not there. Who reads a backup makes nothing: its name was mistyped.

    Raises:
        ExportRefused: it is neither a folder nor a usable s3 url, or lies among the farm's own objects.
        BackupRefused: it is the farm's own store, or not there.
        DestinationFailed: the bucket's server does not answer.
    """
    if "://" not in place:
        root = Path(place).expanduser()
        if make:
            FolderDestination(root)
        elif not root.is_dir():
            raise BackupRefused(f"{field}: there is no folder {root}; name the one that `synfarm backup` wrote to.")
        return FolderShelf(root)
    settings = bucket_of(place, farm, given, field=field)
    if all(getattr(settings, name) == getattr(farm, name) for name in ("endpoint", "bucket")) and (
        settings.prefix.strip("/") == farm.prefix.strip("/")
    ):
        raise BackupRefused(f"{place} is the farm's own store: name another bucket, prefix or server.")
    return StoreShelf(open_bucket(place, settings, field=field, make=make), place)
