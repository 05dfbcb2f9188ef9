"""Batches: filling up to a fixed shape, and telling whether an error was for want of memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch

__all__ = ["filled", "for_want_of_memory"]

Item = TypeVar("Item")

_WORDS = ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory", "alloc_failed")
"""Of torch's allocators (GPU, CPU) and of CUDA's libraries, which raise plain RuntimeErrors."""


def for_want_of_memory(error: BaseException) -> bool:
    """Whether less at once might go through."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _WORDS)


def filled(items: Sequence[Item], size: int) -> list[Item]:
    """At least ``size`` items: the last one again and again, whose extra images are thrown away."""
    return [*items, *[items[-1]] * max(0, size - len(items))]
