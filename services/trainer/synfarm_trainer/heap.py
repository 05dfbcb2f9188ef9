"""How many heaps glibc keeps for the threads of a process."""

from __future__ import annotations

import ctypes
import os
import sys

__all__ = ["HEAPS", "limit_heaps"]

HEAPS = 2
_M_ARENA_MAX = -8
"""Number of the option in glibc's ``malloc.h``."""


def limit_heaps() -> None:
    """Let all threads share :data:`HEAPS` heaps (glibc's ``M_ARENA_MAX``), where it would make eight for each core.

    A block of a shard or of decoded pixels that one thread fills another one frees, and its pages stay with the heap
    that they came from: with a heap for each thread the process grows by megabytes an hour (docs/measurements.md).
    Call before threads start: heaps that exist stay. ``MALLOC_ARENA_MAX`` in the environment is left as it is; does
    nothing where the C library has no such option.
    """
    if not sys.platform.startswith("linux") or "MALLOC_ARENA_MAX" in os.environ:
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, HEAPS)
