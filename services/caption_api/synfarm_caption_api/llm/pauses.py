"""How long to wait before trying again, and the clock that it is waited by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

__all__ = ["Clock", "Draw", "Handle", "full_jitter"]

Draw = Callable[[], float]
"""A number in [0, 1), new at each call. Pauses leave no trace in what is made, so they need no key."""


class Handle(Protocol):
    """A call that is to come."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """What is used of an event loop, so that tests can turn the clock."""

    def time(self) -> float:
        """Seconds from an unknown beginning."""

    def call_later(self, delay: float, callback: Callable[..., Any], *args: Any) -> Handle:
        """Call once, ``delay`` seconds from now, on the event loop's thread."""


def full_jitter(draw: Draw, count: int, *, first: float, longest: float) -> float:
    """Seconds: uniform in [0, min(longest, first * 2**count)), ``count`` from 0.

    All that failed together would otherwise come back together.
    """
    return draw() * min(longest, first * 2.0 ** min(count, 30))
