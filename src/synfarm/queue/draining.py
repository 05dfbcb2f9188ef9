"""The flag of a worker that was asked to stop: finish the unit if it fits the grace period, else hand it back."""

from __future__ import annotations

import threading
import time

__all__ = ["Draining"]


class Draining:
    """Set once by SIGTERM, seen by every unit in work."""

    def __init__(self, grace_seconds: float = 30.0) -> None:
        self._grace = grace_seconds
        self._since: float | None = None
        self._event = threading.Event()

    def start(self) -> None:
        """The worker was asked to stop; the grace period begins with the first call."""
        if self._since is None:
            self._since = time.monotonic()
        self._event.set()

    @property
    def requested(self) -> bool:
        return self._event.is_set()

    @property
    def remaining(self) -> float:
        """Seconds left of the grace period; infinite while nobody asked for a stop."""
        return float("inf") if self._since is None else max(0.0, self._since + self._grace - time.monotonic())
