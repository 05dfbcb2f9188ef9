"""Memory that freed blocks leave in the heap goes back to the system."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

from synfarm_trainer.data.heap import HeapTrim

HELD_MB = """
import ctypes, os
from synfarm_trainer.data.heap import HeapTrim

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
libc.free(libc.malloc(20 << 20))  # from now on blocks up to this size come from the heap
before = resident()
blocks = [libc.malloc(1 << 20) for _ in range(100)]
for block in blocks:
    libc.memset(block, 1, 1 << 20)
on_top = libc.malloc(1 << 20)
for block in blocks:
    libc.free(block)
{then}
print(round(resident() - before))
"""


def held(then: str) -> int:
    code = HELD_MB.format(then=then)
    return int(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="this C library is not glibc")
def test_holes_in_the_heap_are_given_back() -> None:
    assert held("") > 80, "what it is for"
    assert held("assert HeapTrim(0.0).now_and_then()") < 20


def test_it_is_done_now_and_then() -> None:
    now = [0.0]
    heap = HeapTrim(30.0, lambda: now[0])
    told = []
    for second in range(100):
        now[0] = float(second)
        if heap.now_and_then():
            told.append(second)
    assert told in ([30, 60, 90], [])
