"""The list of what a backup holds: gathered while it is copied, in three phases, and written last."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from pydantic import ValidationError

from synfarm.contracts import layout
from synfarm.contracts.backups import BackupHead, BackupLine
from synfarm.contracts.base import utc_now
from synfarm.housekeeping.backup.shelf import BackupFailed, Shelf, is_plain

__all__ = ["SHARED", "Index", "index_key", "indexes", "read_head", "read_lines"]

SHARED = ("recipes/", "uploads/")
"""Folders of what jobs are made from; several jobs may have it in common."""
_FOLDER = "backups/"
_IN_MEMORY = 2**20


def index_key(name: str) -> str:
    return f"{_FOLDER}{name}.jsonl"


def indexes(shelf: Shelf) -> list[str]:
    """Ids of what was backed up here, in order of their time."""
    return [key.removeprefix(_FOLDER).removesuffix(".jsonl") for key in shelf.list(_FOLDER) if key.endswith(".jsonl")]


class Index:
    """Lines wait in temporary files, one a phase: a large job has millions. Thread-safe."""

    def __init__(self) -> None:
        self._files = [tempfile.SpooledTemporaryFile(_IN_MEMORY) for _ in range(3)]  # noqa: SIM115 - closed by __exit__
        self._lock = threading.Lock()
        self.objects = self.bytes = 0

    def add(self, phase: int, key: str, size: int, sha256: str) -> None:
        line = BackupLine(phase=phase, key=key, size=size, sha256=sha256).to_bytes() + b"\n"
        with self._lock:
            self._files[phase].write(line)
            self.objects += 1
            self.bytes += size

    def write(self, shelf: Shelf, kind: Literal["job", "run"], name: str, **more: object) -> BackupHead:
        """The backup is whole from here on."""
        head = BackupHead.model_validate(
            {"kind": kind, "id": name, "objects": self.objects, "bytes": self.bytes, "at": utc_now(), **more}
        )
        # Of a large job it is gigabytes, which no memory need hold and one PUT may not carry.
        with tempfile.NamedTemporaryFile(suffix=".jsonl") as whole:
            whole.write(head.to_bytes() + b"\n")
            for file in self._files:
                file.seek(0)
                shutil.copyfileobj(file, whole)
            whole.flush()
            shelf.put_file(index_key(name), Path(whole.name))
        return head

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for file in self._files:
            file.close()


def read_head(shelf: Shelf, name: str) -> BackupHead:
    """
    Raises:
        BackupFailed: there is no whole backup of it.
    """
    return next(iter(_read(shelf, name)))[0]


def read_lines(shelf: Shelf, name: str) -> Iterator[BackupLine]:
    """What it holds, in the order in which it may be restored.

    Raises:
        BackupFailed: as :func:`read_head`.
    """
    for _, line in _read(shelf, name):
        if line is not None:
            yield line


def _read(shelf: Shelf, name: str) -> Iterator[tuple[BackupHead, BackupLine | None]]:
    key = index_key(name)
    try:
        texts = _texts(shelf, name)
        head = BackupHead.from_bytes(next(texts, b""))
        if head.id != name:
            raise ValueError(f"it is that of {head.id}")
        # Counted before the first is told: nothing is restored by half an index.
        named = sum(1 for _ in texts)
        if named != head.objects:
            raise ValueError(f"it names {named} of {head.objects} objects")
        yield head, None
        folders, texts = _folders(head), _texts(shelf, name)
        next(texts)
        for text in texts:
            line = BackupLine.from_bytes(text)
            if not (line.key.startswith(folders) and is_plain(line.key)):
                raise ValueError(f"{line.key[:200]!r} does not belong to the {head.kind}")
            yield head, line
    except (ValueError, ValidationError) as error:
        raise BackupFailed(f"{shelf.where}: {key} cannot be read: {error}") from error


def _texts(shelf: Shelf, name: str) -> Iterator[bytes]:
    """The lines of the index; at no time more of it than a piece."""
    pieces = shelf.pieces(index_key(name))
    if pieces is None:
        raise BackupFailed(f"{shelf.where} has no whole backup of {name}: run `synfarm backup {name}` to its end.")
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        yield from whole
    if rest:
        yield rest


def _folders(head: BackupHead) -> tuple[str, ...]:
    """Where its objects may lie: a backup of one thing must not write another."""
    if head.kind == "run":
        return (layout.run_prefix(head.id),)
    return (layout.job_prefix(head.id), *SHARED)
