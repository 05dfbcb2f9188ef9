"""A folder that one command at a time writes to."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["held_folder"]


@contextmanager
def held_folder(root: Path, refused: Exception) -> Iterator[None]:
    """Hold it; the kernel lets go of it when the process ends, however it ends.

    Raises:
        ``refused``: somebody else holds it.
        OSError: it cannot be opened.
    """
    handle = os.open(root, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise refused from None
        yield
    finally:
        os.close(handle)
