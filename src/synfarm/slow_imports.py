"""Slow imports with the garbage collector at rest."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["collector_at_rest"]


@contextmanager
def collector_at_rest() -> Iterator[None]:
    """Import inside: what stays as long as the process is looked through neither now nor later.

    Torch and what stands on it make a million objects, among which the collector looks for garbage again and again: an
    eighth of the time that a rank takes to start.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
