"""Where an export goes: a folder or a bucket, in both of which a file is there whole or not at all."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from synfarm.housekeeping.held_folder import held_folder
from synfarm.storage.protocol import ObjectStore, StoreError, StoreUnavailable

__all__ = ["BucketDestination", "Destination", "DestinationFailed", "ExportRefused", "FolderDestination"]

_PART = ".synfarm-part"
"""Ends the names of files that are not whole; nothing else is ever removed from a folder that may be a stranger's."""
_TYPES = {".tar": "application/x-tar", ".json": "application/json", ".md": "text/markdown"}


class ExportRefused(Exception):
    """The export cannot go there, or not in this way; the message says what to do."""


class DestinationFailed(Exception):
    """The server of the destination does not answer, or refuses: not the store that is read."""

    def __init__(self, where: str, error: StoreError) -> None:
        super().__init__(
            f"the destination {where} failed: {error}. The same command goes on when it answers; its server is that of "
            "SYNFARM_EXPORT_ENDPOINT, else the farm's."
        )


class Destination(Protocol):
    """A flat place of files. Thread-safe, one thread a name."""

    where: str
    """For people."""

    def hold(self) -> AbstractContextManager[None]:
        """The place is this process' alone, as far as it can be; what a killed export left half-written goes.

        Raises:
            ExportRefused: another export writes there.
        """

    def size(self, name: str) -> int | None:
        """Bytes of a file; None: there is none."""

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Exactly these bytes of a file that is long enough."""

    def writing(self, name: str) -> AbstractContextManager[BinaryIO]:
        """A file to write to; it is there, over an older one, when the block ends without an error."""

    def names(self, start: str) -> Iterator[str]:
        """Names that begin so."""

    def remove(self, name: str) -> None: ...


class FolderDestination(Destination):
    """A folder, made if only its last part is missing; by a link in it nothing is read or written."""

    def __init__(self, root: Path) -> None:
        """
        Raises:
            ExportRefused: it is a file, or lies in a folder that does not exist.
            OSError: it cannot be made.
        """
        self._root, self.where = root, str(root)
        if root.exists() and not root.is_dir():
            raise ExportRefused(f"--to: {root} is a file; name a folder.")
        if not root.absolute().parent.is_dir():
            raise ExportRefused(f"--to: there is no folder {root.absolute().parent}; make it, or correct the name.")
        root.mkdir(exist_ok=True)

    @contextmanager
    def hold(self) -> Iterator[None]:
        refused = ExportRefused(f"another export writes to {self._root}: wait for it, or name another.")
        with held_folder(self._root, refused):
            for path in self._root.glob(f".*{_PART}"):
                path.unlink()
            yield

    def size(self, name: str) -> int | None:
        """
        Raises:
            ExportRefused: there is something else of that name, and not of ours.
        """
        try:
            status = (self._root / name).lstat()
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(status.st_mode):
            raise ExportRefused(f"--to: {self._root / name} is a link or no plain file: name an empty place.")
        return status.st_size

    def read(self, name: str, offset: int, length: int) -> bytes:
        with (self._root / name).open("rb") as file:
            file.seek(offset)
            return file.read(length)

    @contextmanager
    def writing(self, name: str) -> Iterator[BinaryIO]:
        path = self._root / f".{name}{_PART}"
        try:
            path.unlink(missing_ok=True)
            with path.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            path.replace(self._root / name)
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def names(self, start: str) -> Iterator[str]:
        for path in sorted(self._root.iterdir()):
            if path.name.startswith(start) and not path.name.endswith(_PART):
                yield path.name

    def remove(self, name: str) -> None:
        (self._root / name).unlink(missing_ok=True)


class BucketDestination(Destination):
    """Below the root prefix of a store; files wait in a temporary file until they are whole.

    Two exports may write there at once: where they agree, they write the same bytes.
    """

    def __init__(self, store: ObjectStore, where: str) -> None:
        self._store, self.where = store, where

    @contextmanager
    def hold(self) -> Iterator[None]:
        yield

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Around what its own server does."""
        try:
            yield
        except StoreError as error:
            raise DestinationFailed(self.where, error) from error

    def size(self, name: str) -> int | None:
        with self._told():
            info = self._store.head(name)
        return None if info is None else info.size

    def read(self, name: str, offset: int, length: int) -> bytes:
        with self._told():
            return self._store.get_range(name, offset, length)

    @contextmanager
    def writing(self, name: str) -> Iterator[BinaryIO]:
        with tempfile.TemporaryDirectory(prefix="synfarm-export-") as folder:
            path = Path(folder) / "file"
            with path.open("wb") as file:
                yield file
            content_type = _TYPES.get(Path(name).suffix, "application/octet-stream")
            with self._told():
                self._store.put_file(name, path, content_type=content_type)
                size, found = path.stat().st_size, self.size(name)
                if found != size:
                    raise StoreUnavailable(f"{name}: {size} bytes were uploaded, the store shows {found}")

    def names(self, start: str) -> Iterator[str]:
        with self._told():
            keys = [info.key for info in self._store.list(start)]
        yield from keys

    def remove(self, name: str) -> None:
        with self._told():
            self._store.delete(name)
