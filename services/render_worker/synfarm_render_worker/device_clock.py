"""How much of the time in which there was something to draw the device drew."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["DeviceClock"]


class DeviceClock:
    """Two clocks: *wanted* runs while there is something to draw, *busy* inside ``renderer.render``.

    There is something to draw while a unit has been taken and is not drawn yet, and while messages wait in the queues
    that this worker serves (as its last look saw them). So loading a model, reading captions, waiting for room because
    too many units finish, and the way from one message to the next all count as idle; a worker without work does not,
    nor does one that only finishes its last unit. The idle share is 1 - busy / wanted: 0 is a device that never waits.

    ``busy`` is the wall time of the call: what a renderer itself leaves idle between two kernels is not seen here.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._at = clock()
        self._units, self._calls, self._waiting = 0, 0, False
        self._wanted = self._busy = 0.0

    @contextmanager
    def unit(self) -> Iterator[None]:
        """Around a unit, from its message until it is drawn."""
        with self._lock:
            self._pass()
            self._units += 1
        try:
            yield
        finally:
            with self._lock:
                self._pass()
                self._units -= 1

    @contextmanager
    def drawing(self) -> Iterator[None]:
        """Around a call of the renderer, inside :meth:`unit`."""
        with self._lock:
            self._pass()
            self._calls += 1
        try:
            yield
        finally:
            with self._lock:
                self._pass()
                self._calls -= 1

    def waiting(self, seen: bool) -> None:
        """Whether messages wait."""
        with self._lock:
            self._pass()
            self._waiting = seen

    def seconds(self) -> tuple[float, float]:
        """Wanted and busy until now."""
        with self._lock:
            self._pass()
            return self._wanted, self._busy

    @property
    def idle_share(self) -> float:
        wanted, busy = self.seconds()
        return max(0.0, 1 - busy / wanted) if wanted else 0.0

    def _pass(self) -> None:
        now = self._clock()
        if self._units or self._waiting or self._calls:
            self._wanted += now - self._at
        if self._calls:
            self._busy += now - self._at
        self._at = now
