"""What freed images and batches leave in glibc's heaps goes back to the system now and then.

A loader frees blocks of all sizes in many threads. glibc keeps them in one heap a thread or so, gives back the top of
each alone, and the holes below it grow in number for as long as a run lasts. ``malloc_trim(3)`` gives back the holes'
pages. To map large blocks one by one (``M_MMAP_THRESHOLD``) keeps memory as flat, but costs a quarter of the loader's
processor time in page faults: every image is then written into new pages.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable

__all__ = ["HeapTrim"]

_SECONDS = 30.0


class HeapTrim:
    """Use from one thread; others may allocate meanwhile. Where the C library is another than glibc it does nothing."""

    def __init__(self, seconds: float = _SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        """
        Args:
            seconds: between two times that memory is given back.
        """
        self._trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        self._seconds, self._clock, self._last = seconds, clock, clock()

    def now_and_then(self) -> bool:
        """Give back, if it is time; whether it was."""
        if self._trim is None or self._clock() - self._last < self._seconds:
            return False
        self._trim(0)
        self._last = self._clock()
        return True
