"""What the feeder tells listeners of a job: unit events coalesced, state changes once, the rate of images."""

from __future__ import annotations

from collections import deque

from pydantic import JsonValue

from synfarm.contracts.base import utc_now
from synfarm.contracts.events import EventType
from synfarm.contracts.jobs import JobSpec
from synfarm.contracts.manifests import Ended
from synfarm.queue.board import Board, JobCounters
from synfarm.queue.events import EventLog
from synfarm.queue.flags import JobFlags
from synfarm_caption_api.feeder.view import job_view

__all__ = ["Announcer"]

_RATE_SECONDS = 30.0
_SLOW_CHANGES_SECONDS = 1.0
_UNITS_NAMED = 64


class Announcer:
    """One job's events; at most one ``units`` and one ``progress`` event a pass."""

    def __init__(self, spec: JobSpec, board: Board, events: EventLog, *, least_seconds: float) -> None:
        self._spec, self._board, self._events = spec, board, events
        self._least = least_seconds
        self._last: JobCounters | None = None
        self._last_at = float("-inf")
        self._state: tuple[str, str | None] | None = None
        self._units: list[int] = []
        self._images: deque[tuple[float, int]] = deque()

    def finished(self, units: list[int]) -> None:
        """Units newly seen as committed or dead, told with the next event."""
        self._units += units

    def tell(self, now: float, flags: JobFlags, counters: JobCounters, ended: Ended | None = None) -> None:
        """Publish what changed since the last call. ``now`` in seconds of the farm's clock."""
        self._measure(now, counters)
        view = job_view(
            self._spec, flags=flags, counters=counters, progress=None, ended=ended, now=utc_now()
        ).model_dump(mode="json")
        if (changed := self._units_to_tell(now, counters, ended)) is not None:
            if self._units:
                told: list[JsonValue] = [*self._units[-_UNITS_NAMED:]]
                data = {"units": told, "finished": len(self._units), "counts": view["counts"]}
                self._events.publish(self._spec.job, EventType.UNITS, data)
                self._units = []
            if changed:
                self._events.publish(self._spec.job, EventType.PROGRESS, view)
            self._last, self._last_at = counters, now
        state = (view["state"], view["stalled"])
        if state != self._state:
            if self._state is not None and state[1] != self._state[1]:
                self._events.publish(self._spec.job, EventType.STALLED, {"stalled": state[1]})
            if self._state is None or state[0] != self._state[0]:
                self._events.publish(self._spec.job, EventType.STATE, view)
            self._state = state

    def _units_to_tell(self, now: float, counters: JobCounters, ended: Ended | None) -> bool | None:
        """None: nothing now; else whether counters changed too."""
        waited = now - self._last_at
        changed = self._last is None or (self._last.counts, self._last.written, self._last.draws) != (
            counters.counts,
            counters.written,
            counters.draws,
        )
        if ended is not None or (self._units and waited >= self._least):
            return changed
        return changed if changed and waited >= max(self._least, _SLOW_CHANGES_SECONDS) else None

    def _measure(self, now: float, counters: JobCounters) -> None:
        self._images.append((now, counters.counts.images))
        while len(self._images) > 2 and self._images[0][0] < now - _RATE_SECONDS:
            self._images.popleft()
        (then, images), seconds = self._images[0], now - self._images[0][0]
        if seconds >= 1 and counters.counts.images >= images:
            self._board.set_rate(self._spec.job, (counters.counts.images - images) / (now - then))
