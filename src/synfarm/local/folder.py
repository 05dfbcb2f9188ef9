"""The data folder of one stack: its lock, its secrets, and the files that tell others where it listens."""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import Field, ValidationError

from synfarm.auth import KeyRecord, new_key
from synfarm.contracts.base import Contract
from synfarm.local.state import ProcessList, StackState

__all__ = ["FolderDamaged", "FolderInUse", "Secrets", "StackFolder"]

_LOOKS, _LOOK_PAUSE = 10, 0.05
"""Who asks whether a stack lives (`synfarm.local.finding`) holds the lock for a moment: that is no stack."""


class FolderInUse(RuntimeError):
    """Another stack runs in this folder, or it holds something else."""


class FolderDamaged(RuntimeError):
    """A file of the folder cannot be read; the message names it and the cure."""


class Secrets(Contract):
    """``secrets.json``: made once by chance, kept so that a later start reads the same data."""

    redis_password: str = Field(repr=False)
    s3_access_key: str = Field(repr=False)
    s3_secret_key: str = Field(repr=False)
    api_key: str = Field(repr=False)
    api_key_record: KeyRecord

    @classmethod
    def fresh(cls) -> Self:
        key, record = new_key("local", "admin")
        return cls(
            redis_password=secrets.token_hex(24),
            s3_access_key=secrets.token_hex(10),
            s3_secret_key=secrets.token_hex(24),
            api_key=key,
            api_key_record=record,
        )


def _write_private(path: Path, data: bytes, *, lasting: bool = True) -> None:
    """Whole or not at all, and never readable by others, not even for a moment."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        file.write(data)
        if lasting:
            file.flush()
            os.fsync(file.fileno())
    new.replace(path)


class StackFolder:
    """Context manager: the folder is ours alone from entry to exit (or to the death of this process)."""

    def __init__(self, root: Path) -> None:
        self.root = root.expanduser().resolve()
        self._lock: int | None = None

    def __enter__(self) -> Self:
        """Make the folder and lock it.

        Raises:
            FolderInUse: a living stack has it, or it is not empty and not a stack's.
            OSError: it cannot be made or written.
        """
        if self.root.exists() and not self.lock_file.exists() and any(self.root.iterdir()):
            raise FolderInUse(f"{self.root} holds files that are not a stack's: name an empty or a new folder.")
        self.root.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.lock_file, os.O_CREAT | os.O_RDWR, 0o600)
        if not _locked(handle):
            owner = os.read(handle, 32).decode(errors="replace") or "unknown"
            os.close(handle)
            raise FolderInUse(
                f"{self.root} is in use by another stack (process {owner}): stop it with "
                f"`synfarm down --data-dir {self.root}`, or name another folder."
            )
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
        self._lock = handle
        # What a stack that was killed left behind tells of no living process.
        self._forget()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._forget()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _forget(self) -> None:
        self.state_file.unlink(missing_ok=True)
        self.processes_file.unlink(missing_ok=True)

    @property
    def lock_file(self) -> Path:
        return self.root / "lock"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def state_file(self) -> Path:
        return self.root / "stack.json"

    @property
    def processes_file(self) -> Path:
        return self.root / "processes.json"

    @property
    def key_file(self) -> Path:
        """The API key in clear, mode 0600."""
        return self.root / "api-key"

    @property
    def key_records_file(self) -> Path:
        """What the services read: hashes of keys only."""
        return self.root / "keys.json"

    def secrets(self) -> Secrets:
        """The stack's secrets, made at the first call.

        Raises:
            FolderDamaged: the file cannot be read.
        """
        path = self.root / "secrets.json"
        if not path.exists():
            _write_private(path, Secrets.fresh().to_bytes())
        found = self.kept_secrets()
        _write_private(self.key_file, found.api_key.encode() + b"\n")
        _write_private(self.key_records_file, b"[" + found.api_key_record.to_bytes() + b"]")
        return found

    def kept_secrets(self) -> Secrets:
        """As ``secrets``, for who looks from outside: nothing is made, nothing is written.

        Raises:
            FolderDamaged: the file cannot be read.
            OSError: it is not there, or another's.
        """
        path = self.root / "secrets.json"
        try:
            return Secrets.from_bytes(path.read_bytes())
        except ValidationError:
            # Every server learns its passwords at its start: new ones lose nothing.
            raise FolderDamaged(f"{path} is damaged: remove it, and the next start makes new keys.") from None

    def write_state(self, state: StackState) -> None:
        _write_private(self.state_file, state.to_bytes() + b"\n")

    def write_processes(self, processes: ProcessList) -> None:
        _write_private(self.processes_file, processes.to_bytes() + b"\n", lasting=False)


def _locked(handle: int) -> bool:
    for last in [False] * (_LOOKS - 1) + [True]:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not last:
                time.sleep(_LOOK_PAUSE)
        else:
            return True
    return False
