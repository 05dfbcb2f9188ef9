"""Finding and ending the processes of an older start by a mark in their environment.

A pid file would have to be trusted: pids are reused, and torchrun's ranks may sit in sessions of their own. The mark is
inherited by every descendant and read back from the kernel, and a pidfd taken before the check makes the kill safe.
"""

from __future__ import annotations

import os
import select
import signal
import time
from pathlib import Path

__all__ = ["MARK", "end_marked", "mark_of", "marked"]

MARK = "SYNFARM_TRAINER_RUN"


def mark_of(state_dir: Path, run: str) -> str:
    """The mark of a run: the state folder tells two services on one machine apart."""
    return f"{state_dir.resolve()}::{run}"


def _carries(pid: int, needle: bytes) -> bool:
    try:
        return needle in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        # Gone meanwhile, or another user's: not ours to end.
        return False


def marked(mark: str) -> list[int]:
    """Ids of the living processes that carry ``mark``; ended ones that nobody has waited for have no environment."""
    needle = f"{MARK}={mark}".encode()
    mine = os.getpid()
    pids = (int(entry) for entry in os.listdir("/proc") if entry.isdigit())
    return [pid for pid in pids if pid != mine and _carries(pid, needle)]


def _end(pid: int, needle: bytes, timeout: float) -> bool:
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if not _carries(pid, needle):
            return False
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        poller = select.poll()
        poller.register(handle, select.POLLIN)
        poller.poll(timeout * 1000)
        return True
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)


def end_marked(mark: str, *, timeout: float = 10.0) -> int:
    """SIGKILL every process that carries ``mark`` until none is left; how many were ended.

    Raises:
        TimeoutError: one still lives after ``timeout`` seconds.
    """
    needle = f"{MARK}={mark}".encode()
    deadline = time.monotonic() + timeout
    ended = 0
    while pids := marked(mark):
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"processes {pids} of an earlier start outlived SIGKILL for {timeout:g} s")
        ended += sum(_end(pid, needle, left) for pid in pids)
    return ended
