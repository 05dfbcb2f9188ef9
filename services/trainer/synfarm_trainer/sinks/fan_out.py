"""Records to all sinks: each has a thread of its own, so that none holds up the steps, and none outlives a failure."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Mapping
from typing import Any

from synfarm.telemetry import get_logger
from synfarm_trainer.sinks.protocol import Opener, RecordKind, RunOpening

__all__ = ["Sinks"]

_log = get_logger(__name__)
ROOM = 10_000
"""Records that wait for a sink at most; one that falls back further is switched off."""


class _Lane:
    """One sink and its thread."""

    def __init__(self, name: str, opener: Opener, opening: RunOpening, room: int) -> None:
        self.name, self.fault = name, ""
        self._opener, self._opening = opener, opening
        self._waiting: queue.Queue[tuple[RecordKind, Mapping[str, Any]] | None] = queue.Queue(room)
        self.thread = threading.Thread(target=self._work, name=f"sink-{name}", daemon=True)
        self.thread.start()

    def put(self, item: tuple[RecordKind, Mapping[str, Any]] | None) -> None:
        if self.fault:
            return
        try:
            self._waiting.put_nowait(item)
        except queue.Full:
            self._off(f"it does not keep up: {self._waiting.maxsize} records wait")

    def _work(self) -> None:
        try:
            sink = self._opener(self._opening)
            while not self.fault and (item := self._waiting.get()) is not None:
                sink.write(*item)
            sink.close()
        except Exception as error:  # noqa: BLE001 - whatever another's library meets must not hurt the run
            self._off(f"{type(error).__name__}: {error}")

    def _off(self, fault: str) -> None:
        if not self.fault:
            self.fault = fault[:500]
            _log.warning("sink_off", run=self._opening.spec.run, sink=self.name, error=self.fault)


class Sinks:
    """All sinks of a run; without any it does nothing. Use from one thread."""

    def __init__(self, openers: Mapping[str, Opener], *, room: int = ROOM) -> None:
        self._openers, self._room = dict(openers), room
        self._lanes: list[_Lane] = []
        self._told: set[str] = set()

    def begin(self, opening: RunOpening) -> None:
        self._lanes = [_Lane(name, opener, opening, self._room) for name, opener in self._openers.items()]

    def write(self, kind: RecordKind, data: Mapping[str, Any]) -> None:
        for lane in self._lanes:
            lane.put((kind, data))

    def news(self) -> dict[str, str]:
        """Sinks that have been switched off since the last call, and why."""
        found = {lane.name: lane.fault for lane in self._lanes if lane.fault and lane.name not in self._told}
        self._told |= found.keys()
        return found

    def close(self, timeout: float = 30.0) -> bool:
        """Give them ``timeout`` seconds, all together, to write what they hold.

        False: one still hangs or has failed. Of a failed one nobody closed what its library had begun, which may wait
        for the same network when the interpreter ends.
        """
        for lane in self._lanes:
            lane.put(None)
        deadline = time.monotonic() + timeout
        for lane in self._lanes:
            lane.thread.join(max(0.0, deadline - time.monotonic()))
        late = [lane.name for lane in self._lanes if lane.thread.is_alive()]
        if late:
            _log.warning("sinks_left_behind", sinks=late, seconds=timeout)
        return not late and not any(lane.fault for lane in self._lanes)
