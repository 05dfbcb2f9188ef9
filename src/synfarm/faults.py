"""Fault hooks: named points of the protocols at which a test makes the process die or stop, or a thread hang, once.

Inactive (one dictionary look-up) unless ``SYNFARM_FAULTS`` names a point:
``<point>[:unit=<n>]:<kill|stop|raise|hang>:<marker file>``, several joined by ``;``. The marker is created with O_EXCL
before the fault, so that of all processes and restarts exactly one falls, and a test sees that the fault did fall.
"""

from __future__ import annotations

import os
import re
import signal
import threading
from dataclasses import dataclass

__all__ = ["FaultInjected", "Faults"]


class FaultInjected(RuntimeError):
    """Raised at a hook whose action is ``raise``."""


_FAULT = re.compile(r"([a-z_.]+)(?::unit=(\d+))?:(kill|stop|raise|hang):(.+)")


@dataclass(frozen=True, slots=True)
class _Fault:
    unit: int | None
    action: str
    marker: str


class Faults:
    """The armed hooks of one process, read once by its composition root."""

    def __init__(self, spec: str = "") -> None:
        self._armed: dict[str, _Fault] = {}
        for item in filter(None, spec.split(";")):
            match = _FAULT.fullmatch(item)
            if match is None:
                raise ValueError(f"not a fault '<point>[:unit=<n>]:<kill|stop|raise|hang>:<marker>': {item!r}")
            point, unit, action, marker = match.groups()
            self._armed[point] = _Fault(int(unit) if unit else None, action, marker)

    def reach(self, point: str, unit: int | None = None) -> None:
        """Call at a protocol step; falls if this point is armed for this unit and has not fallen yet.

        Raises:
            FaultInjected: the armed action is ``raise``.
        """
        fault = self._armed.get(point)
        if fault is None or (fault.unit is not None and fault.unit != unit):
            return
        try:
            handle = os.open(fault.marker, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        except FileExistsError:
            return
        os.write(handle, f"{os.getpid()} {point} {unit}".encode())
        os.close(handle)
        if fault.action == "hang":  # this thread alone, for ever
            threading.Event().wait()
        if fault.action == "raise":
            raise FaultInjected(f"{point} unit={unit}")
        os.kill(os.getpid(), signal.SIGKILL if fault.action == "kill" else signal.SIGSTOP)
