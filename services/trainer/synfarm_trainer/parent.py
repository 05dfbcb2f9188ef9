"""A rank dies with the agent that started it, also when the agent is killed without a word."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

__all__ = ["die_with_agent"]

_PR_SET_PDEATHSIG = 1


def die_with_agent() -> None:
    """Ask the kernel for SIGKILL at the parent's death; leave at once if the parent is already gone.

    Call first, before anything slow is imported: the shorter the time before the request, the smaller the gap in which
    an agent's death goes unseen. A rank that finds an init process in the agent's place is an orphan of that gap.
    Does nothing on systems without ``prctl``.
    """
    if not sys.platform.startswith("linux"):
        return
    parent = os.getppid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    orphaned = os.getppid() != parent
    if "TORCHELASTIC_RUN_ID" in os.environ and not orphaned:
        orphaned = not _is_agent(parent)
    if orphaned:
        sys.exit(1)


def _is_agent(pid: int) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return any(agent in command for agent in (b"synfarm_trainer.launch", b"torch.distributed", b"torchrun"))
