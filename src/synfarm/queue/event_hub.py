"""Server-Sent Events at scale: one Redis reader per stream and replica, however many clients listen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from pydantic import JsonValue
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import RedisError

from synfarm.contracts.base import utc_now
from synfarm.contracts.events import Event, EventType, event_id, parse_event_id
from synfarm.contracts.jobs import JobState
from synfarm.queue.board import new_epoch
from synfarm.queue.events import decode_entry
from synfarm.queue.keys import Keys
from synfarm.telemetry import get_logger

__all__ = ["EventHub"]

_log = get_logger(__name__)

FullState = Callable[[], Awaitable[dict[str, JsonValue]]]


class _Channel:
    """One stream's reader and its listeners."""

    def __init__(self) -> None:
        self.listeners: set[asyncio.Queue[Event]] = set()
        self.reader: asyncio.Task[None] | None = None
        self.following = asyncio.Event()
        """Set once the reader has its place: whoever reads the backlog after that misses nothing."""


class EventHub:
    """Fans streams out to subscribers. A slow client loses nothing but its place: it is reset to the full state."""

    def __init__(self, redis: AsyncRedis, keys: Keys, *, block_seconds: float = 1.0, backlog: int = 1000) -> None:
        self._redis: Any = redis
        self._keys, self._backlog = keys, backlog
        self._block_ms = max(1, round(block_seconds * 1000))
        self._channels: dict[str, _Channel] = {}

    async def stream(self, job: str, last_event_id: str | None, full_state: FullState) -> AsyncIterator[Event]:
        """Events after ``last_event_id``, then live ones, until the job's final state.

        Begins with a ``reset`` event that carries ``full_state()`` when there is no id, or when it is of a lost epoch
        or too old; the same comes in the middle when Redis lost its memory.
        """
        queue: asyncio.Queue[Event] = asyncio.Queue(self._backlog)
        channel = self._listen(job, queue)
        try:
            await channel.following.wait()
            place = parse_event_id(last_event_id or "")
            missed = await self._missed(job, place)
            if place is None or missed is None:
                event = await self._reset(job, full_state)
                place = _place(event)
                yield event
                if _is_final(event):
                    return
                missed = []
            while True:
                for event in missed:
                    epoch, sequence = _place(event)
                    if epoch == place[0] and sequence <= place[1]:
                        continue
                    if epoch != place[0] or sequence != place[1] + 1:
                        event = await self._reset(job, full_state)
                    place = _place(event)
                    yield event
                    if _is_final(event):
                        return
                missed = [await queue.get()]
        finally:
            self._leave(job, channel, queue)

    async def close(self) -> None:
        """End all readers."""
        readers = [channel.reader for channel in self._channels.values() if channel.reader is not None]
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
        self._channels.clear()

    def _listen(self, job: str, queue: asyncio.Queue[Event]) -> _Channel:
        channel = self._channels.setdefault(job, _Channel())
        channel.listeners.add(queue)
        if channel.reader is None:
            channel.reader = asyncio.create_task(self._read(job, channel))
        return channel

    def _leave(self, job: str, channel: _Channel, queue: asyncio.Queue[Event]) -> None:
        channel.listeners.discard(queue)
        if not channel.listeners and channel.reader is not None:
            channel.reader.cancel()
            if self._channels.get(job) is channel:
                del self._channels[job]

    async def _missed(self, job: str, place: tuple[str, int] | None) -> list[Event] | None:
        """Kept events after ``place``; None if some of them are lost."""
        if place is None or place[0] != await self._redis.get(self._keys.epoch):
            return None
        entries = await self._redis.xrange(self._keys.events(job), min=f"({place[1]}-0")
        events = [decode_entry(*entry) for entry in entries]
        if events:
            return events if _place(events[0])[1] == place[1] + 1 else None
        return [] if (await self._latest(job))[1] == place[1] else None

    async def _latest(self, job: str) -> tuple[str, int]:
        newest = await self._redis.xrevrange(self._keys.events(job), count=1)
        await self._redis.set(self._keys.epoch, new_epoch(), nx=True)
        epoch = str(await self._redis.get(self._keys.epoch))
        return epoch, int(newest[0][0].partition("-")[0]) if newest else 0

    async def _reset(self, job: str, full_state: FullState) -> Event:
        # The place first: what happens while the state is computed comes again as events.
        place = await self._latest(job)
        return Event(id=event_id(*place), type=EventType.RESET, at=utc_now(), data=await full_state())

    async def _read(self, job: str, channel: _Channel) -> None:
        """Follow one stream until cancelled."""
        stream, epoch, position = self._keys.events(job), "", "0-0"
        while True:
            try:
                if not epoch:
                    epoch, newest = await self._latest(job)
                    position = f"{newest}-0"
                    channel.following.set()
                answer = await self._redis.xread({stream: position}, block=self._block_ms, count=500)
                if not answer:
                    now = str(await self._redis.get(self._keys.epoch) or "0")
                    if now != epoch:  # the numbers begin again
                        epoch, position = now, "0-0"
                    continue
                for entry_id, fields in answer[0][1]:
                    position = entry_id
                    self._offer(channel, decode_entry(entry_id, fields))
            except RedisError as error:
                _log.warning("events_not_read", job=job, error=str(error))
                await asyncio.sleep(1.0)

    @staticmethod
    def _offer(channel: _Channel, event: Event) -> None:
        for queue in channel.listeners:
            if queue.full():
                queue.get_nowait()  # the gap in the numbers resets this client
            queue.put_nowait(event)


def _place(event: Event) -> tuple[str, int]:
    epoch, _, sequence = event.id.rpartition("-")
    return epoch, int(sequence)


def _is_final(event: Event) -> bool:
    state = event.data.get("state")
    carries_state = event.type in {EventType.STATE, EventType.RESET}
    return carries_state and isinstance(state, str) and state in {s.value for s in JobState if s.is_final}
