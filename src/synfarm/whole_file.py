"""A file that a user asked for, written so that a full disk or a Ctrl-C leaves no half of it."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["write_whole"]


def write_whole(path: Path, data: bytes) -> None:
    """The file is there whole or not at all; a device or a pipe, such as /dev/stdout, is written to as it is.

    Raises:
        OSError: it cannot be written.
    """
    path = path.resolve()
    if path.exists() and not path.is_file():
        path.write_bytes(data)
        return
    new = path.with_name(f".{path.name}.{os.getpid()}.new")  # two may write it at once
    try:
        new.unlink(missing_ok=True)
        with new.open("xb") as file:  # by no link that somebody has put there
            file.write(data)
        new.replace(path)
    except OSError:
        new.unlink(missing_ok=True)
        raise
