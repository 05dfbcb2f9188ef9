"""Memory of images and batches goes back to the system when it is freed.

glibc maps large blocks one by one at first, but takes each block that is freed for a reason to keep blocks of its size
in the heap from then on (mallopt(3), ``M_MMAP_THRESHOLD``: up to 32 MiB). A loader frees blocks of all sizes in many
threads, and its heaps grow by some megabytes for every 10,000 images, for ever. With a fixed threshold they do not.
"""

from __future__ import annotations

import ctypes

__all__ = ["map_large_blocks"]

_M_MMAP_THRESHOLD = -3
"""Of glibc's ``malloc.h``."""
_BYTES = 1 << 18
"""A decoded image of 300 x 300 pixels is larger, a single crop of 224 x 224 is not."""


def map_large_blocks() -> bool:
    """Map blocks of 256 KiB and more one by one, in this process, from now on; whether the C library can do so."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(_M_MMAP_THRESHOLD, _BYTES))
