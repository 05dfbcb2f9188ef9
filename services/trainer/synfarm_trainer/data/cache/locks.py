"""Locks among the processes of a node that end with their holder, however it ends.

Each lock is one byte of one file, held by an open file description of its own (Linux' ``F_OFD_SETLK``): threads of a
process keep each other out too, the kernel lets go when the holder is killed, and no lock file is left to sweep.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["SHORTEST_LOOK", "ByteLocks", "try_lock"]

SHORTEST_LOOK, _LONGEST_LOOK = 0.005, 0.25
"""Seconds between two looks at a lock that another holds."""
_BUSY = {errno.EAGAIN, errno.EACCES}


def try_lock(handle: int, place: int) -> bool:
    """Lock byte ``place`` of an open file until the file is closed; False if another holds it.

    Raises:
        OSError: the file system has no locks.
    """
    request = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, place, 1, 0)
    try:
        fcntl.fcntl(handle, fcntl.F_OFD_SETLK, request)
    except OSError as error:
        if error.errno in _BUSY:
            return False
        raise
    return True


class ByteLocks:
    """Of one file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def hold(
        self,
        place: int,
        *,
        seconds: float,
        pause: Callable[[float], None] = time.sleep,
        needless: Callable[[], bool] = lambda: False,
    ) -> Iterator[int | None]:
        """The locked file; None if another still held the lock after ``seconds``, or once ``needless`` says so.

        Args:
            pause: waits between two looks; may raise to give up.

        Raises:
            OSError: the file cannot be opened or locked.
        """
        handle = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o644)
        try:
            deadline, look = time.monotonic() + seconds, SHORTEST_LOOK
            while not (locked := try_lock(handle, place)):
                if needless() or time.monotonic() > deadline:
                    break
                pause(look)
                look = min(2 * look, _LONGEST_LOOK)
            yield handle if locked else None
        finally:
            os.close(handle)
