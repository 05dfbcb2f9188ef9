"""Is there a living stack in a folder? Answered from outside, by its lock, which no dead process can hold."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pydantic import ValidationError

from synfarm.local.folder import StackFolder
from synfarm.local.state import ProcessList, StackState

__all__ = ["Condition", "Found", "look"]


class Condition(StrEnum):
    ABSENT = "absent"
    """No stack has ever run there."""
    FOREIGN = "foreign"
    """The folder holds something else."""
    STARTING = "starting"
    """A stack has the folder, and is not ready yet (or no more)."""
    RUNNING = "running"
    STOPPED = "stopped"
    """One has run there, and was stopped in good order."""
    STALE = "stale"
    """One was killed: its state file names processes that are gone."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a look at a folder has found."""

    folder: StackFolder
    condition: Condition
    pid: int | None = None
    """Of the supervisor, where one lives."""
    state: StackState | None = None
    """Where one runs."""
    processes: ProcessList | None = None
    """Where one lives."""

    @property
    def lives(self) -> bool:
        return self.condition in {Condition.STARTING, Condition.RUNNING}


def look(root: Path) -> Found:
    """Look at a folder without changing anything in it.

    Raises:
        OSError: it cannot be read.
    """
    folder = StackFolder(root)
    if not folder.lock_file.exists():
        foreign = folder.root.exists() and (not folder.root.is_dir() or any(folder.root.iterdir()))
        return Found(folder, Condition.FOREIGN if foreign else Condition.ABSENT)
    held, pid = _holder(folder.lock_file)
    if not held:
        return Found(folder, Condition.STALE if folder.state_file.exists() else Condition.STOPPED)
    state, processes = _state(folder.state_file), _processes(folder.processes_file)
    return Found(folder, Condition.RUNNING if state else Condition.STARTING, pid, state, processes)


def _holder(lock: Path) -> tuple[bool, int | None]:
    """Whether a living process holds the lock, and which; it writes its id right after it has taken it."""
    handle = os.open(lock, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.read(handle, 32)
        return True, int(text) if text.isdigit() else None
    else:
        return False, None
    finally:
        os.close(handle)


def _state(path: Path) -> StackState | None:
    try:
        return StackState.from_bytes(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def _processes(path: Path) -> ProcessList | None:
    try:
        return ProcessList.from_bytes(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
