"""Files that processes of several users lock: whoever comes first makes one, and everyone may open it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

__all__ = ["LockRefused", "open_lock"]

_MODE = 0o644
"""``flock`` asks for no right to write on a local disk: a file that can be read can be locked, shared or alone
(flock(2): "a shared or exclusive lock can be placed on a file regardless of the mode in which the file was opened")."""
_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
"""Without waiting: a pipe that somebody has put there would be waited for without end."""


class LockRefused(OSError):
    """It is another user's and cannot be opened, or no lock of ours; the message says what to do."""


def open_lock(file: Path) -> int:
    """A handle of the file, which is made if it is not there.

    An existing one is opened without O_CREAT: in a folder as ``/tmp`` Linux refuses that for files of others
    (``fs.protected_regular``).

    Raises:
        LockRefused: it is another user's, and may not be read; or it is no plain file, or one with another name too.
        OSError: it cannot be opened, or the folder cannot be written.
    """
    while True:
        try:
            handle = _open_existing(file)
        except FileNotFoundError:
            pass
        except PermissionError as error:
            owner = file.lstat().st_uid
            raise LockRefused(
                f"{file} is of user {owner} and cannot be opened; let them make it readable (chmod a+r), or name "
                "another folder if no service of theirs uses the same GPUs"
            ) from error
        else:
            try:
                _make_readable(handle, file)
            except OSError:
                os.close(handle)
                raise
            return handle
        try:
            handle = os.open(file, os.O_CREAT | os.O_EXCL | os.O_RDWR | _FLAGS, _MODE)
        except FileExistsError:
            continue
        os.fchmod(handle, _MODE)  # whatever the umask
        return handle


def _make_readable(handle: int, file: Path) -> None:
    """For all, if it is this user's: an older version made them for one user.

    In a folder that all may write somebody may have put a second name of another file of this user, which is not to be
    made readable (``fs.protected_hardlinks`` prevents it where it is on).
    """
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        raise LockRefused(f"{file} is no plain file of its own; remove it, or name another folder")
    if found.st_uid == os.geteuid() and found.st_mode & _MODE != _MODE:
        os.fchmod(handle, _MODE)


def _open_existing(file: Path) -> int:
    try:
        return os.open(file, os.O_RDWR | _FLAGS)
    except PermissionError:
        return os.open(file, os.O_RDONLY | _FLAGS)
