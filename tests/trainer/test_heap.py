"""Heaps of a rank's threads, counted by glibc itself in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from synfarm_trainer.heap import HEAPS

HEAPS_AFTER = """
import contextlib, ctypes, sys, tempfile, threading
{before}
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
together = threading.Barrier(12)
def work():
    together.wait()
    libc.malloc(10_000)
    together.wait()
threads = [threading.Thread(target=work) for _ in range(12)]
for thread in threads: thread.start()
for thread in threads: thread.join()
libc.fopen.restype = ctypes.c_void_p
with tempfile.NamedTemporaryFile() as told:
    stream = ctypes.c_void_p(libc.fopen(told.name.encode(), b"w"))
    assert libc.malloc_info(0, stream) == 0
    libc.fclose(stream)
    print(told.read().count(b"<heap nr="))
"""
RANK = """
from synfarm_trainer.run import main
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(sys.stderr):
    main(["--help"])
"""

pytestmark = pytest.mark.skipif(
    not hasattr(__import__("ctypes").CDLL(None), "malloc_info"), reason="counts the heaps of glibc"
)


def heaps(before: str, **environment: str) -> int:
    """Heaps of a process whose twelve threads each took a block at once, after it did ``before``."""
    known = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"}
    told = subprocess.run(
        [sys.executable, "-c", HEAPS_AFTER.format(before=before)],
        env={**known, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return int(told.stdout)


def test_the_threads_of_a_rank_share_its_heaps() -> None:
    assert heaps("") > HEAPS
    assert heaps(RANK) == HEAPS


def test_a_number_in_the_environment_is_left() -> None:
    assert heaps(RANK, MALLOC_ARENA_MAX="4") == 4
