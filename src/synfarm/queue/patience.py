"""How long work may be silent before it counts as hung: one truth for leases, health and the watchdog."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

__all__ = ["Load", "Patience"]


@dataclass(slots=True)
class Load:
    """What may be a load: whoever asked for it sets ``happened``."""

    happened: bool = True


class Patience:
    """Of one process; thread-safe. A model that is loaded, compiled and tuned has a bound of its own."""

    def __init__(self, stall_seconds: float = 300.0, load_seconds: float = 1800.0) -> None:
        """
        Args:
            stall_seconds: work that tells no progress for longer hangs.
            load_seconds: the same for a load, and for what comes after one up to the first progress, because the first
                step may compile.
        """
        self.stall_seconds, self.load_seconds = stall_seconds, max(stall_seconds, load_seconds)
        self._lock = threading.Lock()
        self._loading = self._fresh = False
        self._units = 0
        self._grace_until = self._loaded_at = self._pardoned = float("-inf")

    @contextmanager
    def loading(self) -> Iterator[Load]:
        """Around a load; from here on silence is judged by ``load_seconds``, until work goes on after it."""
        load = Load()
        with self._lock:
            before, self._grace_until = self._grace_until, time.monotonic() + self.load_seconds
            self._loading = True
        try:
            yield load
        finally:
            with self._lock:
                self._loading = False
                if load.happened:
                    # Before the first unit: then that one is what goes on after the load.
                    self._fresh, self._loaded_at = self._units == 0, time.monotonic()
                else:
                    self._grace_until = before

    def unit_begins(self) -> None:
        with self._lock:
            self._units += 1
            if self._fresh:
                self._fresh, self._loaded_at = False, time.monotonic()
                self._grace_until = self._loaded_at + self.load_seconds

    def unit_ends(self) -> None:
        with self._lock:
            self._units -= 1

    def pardon(self) -> None:
        """The process itself stood still (SIGSTOP): what lies before this moment is nobody's silence."""
        with self._lock:
            self._pardoned = now = time.monotonic()
            if self._loading:
                self._grace_until = now + self.load_seconds

    def is_over(self, idle_seconds: float) -> bool:
        """Whether work that has been silent for so long hangs."""
        with self._lock:
            now = time.monotonic()
            went_on = not self._loading and now - idle_seconds > self._loaded_at
            is_patient = now <= self._grace_until and not went_on
            return not is_patient and min(idle_seconds, now - self._pardoned) > self.stall_seconds

    @property
    def load_is_over(self) -> bool:
        """Whether a load is under way, for no unit, that takes too long."""
        with self._lock:
            return self._loading and not self._units and time.monotonic() > self._grace_until

    @property
    def bound(self) -> float:
        """Longest silence, in seconds from now, that may still be none of a hang."""
        with self._lock:
            return max(self.stall_seconds, self._grace_until - time.monotonic())
