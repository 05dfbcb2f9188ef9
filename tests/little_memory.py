"""A bound on what Python takes while something hostile is read."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["little_memory"]


@contextmanager
def little_memory(most: int = 4 << 20) -> Iterator[None]:
    """The body never holds ``most`` bytes of Python's memory at once."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()
