"""Where the file of settings goes: one command at a time, into a folder that can be written."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from synfarm.cli.exits import CommandFailed, ExitCode

__all__ = ["alone_with", "refused"]


def refused(path: Path, what: str) -> CommandFailed:
    return CommandFailed(f"{path}: {what}.", ExitCode.REFUSED)


@contextmanager
def alone_with(path: Path) -> Iterator[None]:
    """No other command writes the file meanwhile. The kernel lets go of the lock when this process dies.

    Raises:
        CommandFailed: another command has it, no file can be there, or the folder cannot be written.
    """
    if path.exists() and not path.is_file():
        raise refused(path, "is no file that could be read again; name one with -o")
    # What is behind a link is what is written, by whatever name it is reached.
    whole = path.resolve()
    if not whole.parent.is_dir():
        raise refused(path, "its folder is not there; make it first")
    beside = whole.with_name(f".{whole.name}.lock")
    try:
        handle = _locked(beside)
    except BlockingIOError as error:
        raise refused(
            path, "another `synfarm backgrounds make` writes it; wait for its end, or name another file with -o"
        ) from error
    except OSError as error:
        what = error.strerror or str(error)
        raise refused(path, f"cannot be written there ({what}); name a file in another folder with -o") from error
    try:
        yield
    finally:
        # Before the lock is gone: who opens this name next makes a new file, and who waits for this one sees it.
        beside.unlink(missing_ok=True)
        os.close(handle)


def _locked(path: Path) -> int:
    while True:
        handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_still(path, handle):
                return handle
        except OSError:
            os.close(handle)
            raise
        os.close(handle)


def _is_still(path: Path, handle: int) -> bool:
    """Not unlinked by the command before, between opening and locking."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(handle))
    except FileNotFoundError:
        return False
