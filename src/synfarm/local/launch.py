"""Exec a command that dies with its parent: run as a script between the supervisor and each child.

``python launch.py <parent pid> <command> …``. The kernel sends SIGKILL to the process when the *thread* that started
it ends (PR_SET_PDEATHSIG), which holds across exec and covers a supervisor that is itself killed with SIGKILL. It is a
script of its own, and not code run between fork and exec, because that is not safe in a process with threads.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Ask for the parent-death signal, then become the command.

    Raises:
        OSError: the kernel refused, or there is no such command.
    """
    parent, *command = arguments
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != int(parent):
        # The parent died before the request above: no signal will come any more.
        sys.exit(1)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
