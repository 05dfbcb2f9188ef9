"""Event streams of runs: a bounded ring in memory for each, read by any number of clients at their own pace."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable

from pydantic import JsonValue

from synfarm.contracts.base import utc_now
from synfarm.contracts.events import Event, EventType, event_id, parse_event_id
from synfarm.contracts.runs import RunState

__all__ = ["EventHub", "EventLog"]

Fields = dict[str, JsonValue]
_LOOK_AGAIN = 30.0
_FINAL = frozenset(state.value for state in RunState if state.is_final)


class EventLog:
    """The newest events of one run. Published from any thread, awaited in any loop."""

    def __init__(self, epoch: str, size: int) -> None:
        self._epoch = epoch
        self._ring: deque[Event] = deque(maxlen=size)
        self._sequence = 0
        self._closed = False
        self._lock = threading.Lock()
        self._waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()

    @property
    def sequence(self) -> int:
        """Number of the newest event, 0 before the first."""
        with self._lock:
            return self._sequence

    def publish(self, kind: EventType, data: Fields, *, last: bool = False) -> None:
        """Append an event and wake the readers; ``last`` ends their streams after it."""
        with self._lock:
            self._sequence += 1
            self._closed = last
            self._ring.append(
                Event(id=event_id(self._epoch, self._sequence), type=kind, at=utc_now(), data=data),
            )
            waiting, self._waiting = self._waiting, set()
        for loop, signal in waiting:
            if not loop.is_closed():
                loop.call_soon_threadsafe(signal.set)

    def reopen(self) -> None:
        """The run goes on: streams no longer end after the newest event."""
        with self._lock:
            self._closed = False

    def after(self, sequence: int) -> list[Event] | None:
        """Events after ``sequence``, or None if some of them are forgotten or it lies in the future."""
        with self._lock:
            oldest = self._sequence - len(self._ring)
            if not oldest <= sequence <= self._sequence:
                return None
            return list(self._ring)[sequence - oldest :]

    async def _more(self, sequence: int) -> bool:
        """Wait until there is an event after ``sequence``; False when none will come."""
        signal = asyncio.Event()
        entry = (asyncio.get_running_loop(), signal)
        with self._lock:
            if self._sequence > sequence:
                return True
            if self._closed:
                return False
            self._waiting.add(entry)
        try:
            await signal.wait()
        finally:
            with self._lock:
                self._waiting.discard(entry)
        return True

    async def follow(
        self, last_event_id: str | None, full_state: Callable[[], Fields], *, look_again: float = _LOOK_AGAIN
    ) -> AsyncIterator[Event]:
        """Events after ``last_event_id``.

        A client without an id gets the full state as ``state`` first; one whose id is of a lost epoch, too old, or too
        slow for the ring gets it as ``reset``. Each stands for everything up to its id.

        Args:
            full_state: may block (store); runs in a thread.
            look_again: seconds without an event after which it is asked whether the run has ended elsewhere.
        """
        parsed = parse_event_id(last_event_id) if last_event_id else None
        position = parsed[1] if parsed is not None and parsed[0] == self._epoch else None
        opening = EventType.RESET if last_event_id else EventType.STATE
        while True:
            events = self.after(position) if position is not None else None
            if events is None or position is None:
                position = self.sequence  # before the state is read: an event in between is told twice, never lost
                data = await asyncio.to_thread(full_state)
                yield Event(id=event_id(self._epoch, position), type=opening, at=utc_now(), data=data)
                opening = EventType.RESET
                if data.get("state") in _FINAL:
                    return
                continue
            for event in events:
                position += 1
                yield event
            try:
                if not await asyncio.wait_for(self._more(position), look_again):
                    return
            except TimeoutError:
                data = await asyncio.to_thread(full_state)
                if data.get("state") in _FINAL:
                    yield Event(id=event_id(self._epoch, position), type=EventType.STATE, at=utc_now(), data=data)
                    return


class EventHub:
    """The logs of all runs that this process has told of; those of the longest-ended runs are forgotten first."""

    def __init__(self, epoch: str, *, ring: int = 1000, logs: int = 200) -> None:
        self.epoch = epoch
        self._ring, self._limit = ring, logs
        self._logs: OrderedDict[str, EventLog] = OrderedDict()
        self._lock = threading.Lock()

    def log(self, run: str) -> EventLog:
        with self._lock:
            found = self._logs.get(run)
            if found is None:
                found = self._logs[run] = EventLog(self.epoch, self._ring)
            self._logs.move_to_end(run)
            while len(self._logs) > self._limit:
                self._logs.popitem(last=False)
            return found
