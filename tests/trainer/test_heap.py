"""Large blocks do not stay in the heap of a rank."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

MAPPED = """
import ctypes

class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in
                "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()]

libc = ctypes.CDLL(None)
libc.mallinfo2.restype, libc.malloc.restype, libc.free.argtypes = Info, ctypes.c_void_p, [ctypes.c_void_p]
{first}
before = libc.mallinfo2().hblks
libc.free(libc.malloc(20 << 20))  # as a batch that has been trained on
blocks = [libc.malloc(1 << 20) for _ in range(8)]
print(libc.mallinfo2().hblks - before)
"""


def mapped(first: str) -> int:
    code = MAPPED.format(first=first)
    return int(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="this C library is not glibc 2.33 or later")
def test_large_blocks_are_mapped_also_after_a_larger_one_was_freed() -> None:
    assert mapped("from synfarm_trainer.heap import map_large_blocks; assert map_large_blocks()") == 8
    assert mapped("") == 0, "what it is for"
