"""Fault hooks: named points of the protocols at which a test makes the process die, stop or hang, once.

Inactive (one dictionary look-up) unless ``SYNFARM_FAULTS`` names a point:
``<point>[:unit=<n>]:<kill|stop|hang|raise>:<marker file>``, several joined by ``;``. The marker is created with O_EXCL
before the fault, so that of all processes and restarts exactly one falls, and a test sees that the fault did fall. A
point that is named several times, each time with a marker of its own, falls as often.

``stop`` is SIGSTOP: the whole process stands. ``hang`` is one thread that never comes back and runs no handler of a
signal, as in a GPU kernel or a read that the kernel waits for; the others go on. ``hang_all`` holds the interpreter's
lock besides, as a page of a mapped file that never comes.
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
from collections import defaultdict
from dataclasses import dataclass

__all__ = ["FaultInjected", "Faults"]


class FaultInjected(RuntimeError):
    """Raised at a hook whose action is ``raise``."""


_FAULT = re.compile(r"([a-z_.]+)(?::unit=(\d+))?:(kill|stop|hang|hang_all|raise):(.+)")


@dataclass(frozen=True, slots=True)
class _Fault:
    unit: int | None
    action: str
    marker: str


class Faults:
    """The armed hooks of one process, read once by its composition root."""

    def __init__(self, spec: str = "") -> None:
        self._armed: defaultdict[str, list[_Fault]] = defaultdict(list)
        for item in filter(None, spec.split(";")):
            match = _FAULT.fullmatch(item)
            if match is None:
                raise ValueError(f"not a fault '<point>[:unit=<n>]:<kill|stop|hang|hang_all|raise>:<marker>': {item!r}")
            point, unit, action, marker = match.groups()
            self._armed[point].append(_Fault(int(unit) if unit else None, action, marker))

    def reach(self, point: str, unit: int | None = None) -> None:
        """Call at a protocol step; falls if this point is armed for this unit and has not fallen yet.

        Raises:
            FaultInjected: the armed action is ``raise``.
        """
        for fault in self._armed.get(point, ()):
            if fault.unit is None or fault.unit == unit:
                self._fall(fault, point, unit)

    @staticmethod
    def _fall(fault: _Fault, point: str, unit: int | None) -> None:
        try:
            handle = os.open(fault.marker, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        except FileExistsError:
            return
        os.write(handle, f"{os.getpid()} {point} {unit}".encode())
        os.close(handle)
        if fault.action == "raise":
            raise FaultInjected(f"{point} unit={unit}")
        if fault.action in {"hang", "hang_all"}:
            # In C, where no handler of a signal runs; CDLL gives the interpreter's lock away, PyDLL keeps it.
            library = (ctypes.CDLL if fault.action == "hang" else ctypes.PyDLL)(None)
            mutex = ctypes.create_string_buffer(64)  # all zero: a plain one, locked twice it waits for ever
            library.pthread_mutex_lock(mutex)
            library.pthread_mutex_lock(mutex)
        os.kill(os.getpid(), signal.SIGKILL if fault.action == "kill" else signal.SIGSTOP)
