"""What is left of a unit when its device time is over runs in a thread beside the next unit; how many is bounded."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Finishing", "FinishingRoom"]

_LOOK_SECONDS = 0.2
"""How often a wait looks whether it is still wanted."""


@dataclass(frozen=True, slots=True)
class Finishing:
    """The rest of a unit's work, its commit included. Raises what work raises."""

    run: Callable[[], None]
    size: int = 0
    """Bytes that it keeps in memory until it has run."""


class FinishingRoom:
    """One a process. Each unit has a daemon thread: one that hangs on the store cannot hold up the process' end."""

    def __init__(self, *, units: int, size: int) -> None:
        """
        Args:
            units: so many may finish beside a unit that is worked on; 0: none, every unit is finished first.
            size: bytes that they may keep in memory; a single unit may always finish.
        """
        self._units, self._size = units, size
        self._inside: dict[int, int] = {}
        self._entered = 0
        self._changed = threading.Condition()

    @property
    def units(self) -> int:
        """Units that finish at this moment."""
        with self._changed:
            return len(self._inside)

    def enter(self, size: int, part: Callable[[], object]) -> None:
        """Run ``part`` in a thread of its own, with this thread's log context; call :meth:`wait_for_room` after it.

        Raises:
            RuntimeError: the system gives no thread; ``part`` does not run.
        """
        with self._changed:
            self._entered += 1
            ticket = self._entered
            self._inside[ticket] = size
        context = contextvars.copy_context()

        def run() -> None:
            try:
                context.run(part)
            finally:
                self._leave(ticket)

        try:
            threading.Thread(target=run, name=f"finish-{ticket}", daemon=True).start()
        except RuntimeError:
            self._leave(ticket)
            raise

    def wait_for_room(self, wanted: Callable[[], bool] = lambda: True) -> None:
        """Return when another unit may be taken, or when that is no longer ``wanted``."""
        with self._changed:
            while self._full() and wanted():
                self._changed.wait(_LOOK_SECONDS)

    def wait_until_empty(self, seconds: float) -> bool:
        """Whether all that finish have ended within ``seconds``."""
        end = time.monotonic() + seconds
        with self._changed:
            while self._inside and (left := end - time.monotonic()) > 0:
                self._changed.wait(min(left, _LOOK_SECONDS))
            return not self._inside

    def _full(self) -> bool:
        return len(self._inside) > self._units or (len(self._inside) > 1 and sum(self._inside.values()) > self._size)

    def _leave(self, ticket: int) -> None:
        with self._changed:
            self._inside.pop(ticket)
            self._changed.notify_all()
