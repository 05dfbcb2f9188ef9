"""Ends a process whose work hangs: a GPU kernel or a read from a dead file server cannot be interrupted from Python.

The supervisor starts the process again, and the unit goes elsewhere: its lease is no longer renewed.
"""

from __future__ import annotations

import faulthandler
import os
import threading
import time

from synfarm.queue.patience import Patience
from synfarm.queue.presence import Presence
from synfarm.telemetry import get_logger

__all__ = ["HUNG", "Watchdog"]

HUNG = 70
"""Exit code EX_SOFTWARE: the work hung. Where not even this thread got its turn it is 1, from the timer below."""
_TICK = 1.0
_STOOD_STILL = 10.0
"""A look that comes so late tells that the process itself was stopped, or the machine slept: forgiven. A stop longer
than the timer behind this thread ends the process all the same, with 1: that clock goes on meanwhile."""
_MARGIN = 5.0
"""The timer comes so long after this thread would have, in seconds."""

_STDERR = 2

_log = get_logger(__name__)


class Watchdog:
    """A thread that looks once a second, and behind it a timer in C for a hang that keeps the interpreter's lock."""

    def __init__(self, presence: Presence, patience: Patience) -> None:
        self._presence, self._patience = presence, patience
        self._tick = min(_TICK, patience.stall_seconds / 4)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()
        faulthandler.cancel_dump_traceback_later()

    def _watch(self) -> None:
        looked = time.monotonic()
        while not self._stop.is_set():
            # A page of a mapped file that never comes is waited for with the interpreter's lock held: then no Python
            # runs, this thread neither, and only this timer ends the process (with a dump, and code 1).
            faulthandler.dump_traceback_later(self._patience.bound + self._tick + _MARGIN, exit=True, file=_STDERR)
            if self._stop.wait(self._tick):
                return
            late = time.monotonic() - looked > self._tick + _STOOD_STILL
            looked = time.monotonic()
            if late:
                self._patience.pardon()
            elif self._presence.hangs():
                self._end()

    def _end(self) -> None:
        # Should the log itself be what hangs.
        faulthandler.dump_traceback_later(_MARGIN, exit=True, file=_STDERR)
        next_step = "the supervisor starts this worker again; the dump below says where it stood"
        info = self._presence.info()
        for job, unit, attempt, idle in self._presence.in_work():
            _log.error(
                "work_hung", job=job, unit=unit, attempt=attempt, silent_seconds=round(idle, 1), next_step=next_step
            )
        if info.loading is not None:
            _log.error("load_hung", model=info.loading, next_step=next_step)
        faulthandler.dump_traceback(all_threads=True, file=_STDERR)
        os._exit(HUNG)
