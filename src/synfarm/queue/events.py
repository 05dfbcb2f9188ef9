"""The event stream of a job in Redis: appended by whoever changes the job, capped, numbered without gaps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import JsonValue
from redis import Redis

from synfarm.contracts.base import utc_now
from synfarm.contracts.events import Event, EventType, event_id, parse_event_id
from synfarm.queue.board import new_epoch
from synfarm.queue.keys import Keys
from synfarm.queue.scripts import PUBLISH

__all__ = ["EventLog", "decode_entry"]


class EventLog:
    """Appends to and reads a job's capped stream."""

    def __init__(self, redis: Redis, keys: Keys, *, cap: int = 2000) -> None:
        self._redis: Any = redis
        self._keys, self._cap = keys, cap
        self._publish = redis.register_script(PUBLISH)

    def publish(self, job: str, type_: EventType, data: Mapping[str, JsonValue]) -> Event:
        """Append an event; its id is ``<epoch>-<seq>``."""
        at = utc_now()
        keys = [self._keys.epoch, self._keys.events(job)]
        args = [type_.value, at.isoformat(), json.dumps(dict(data)), self._cap, new_epoch()]
        epoch, sequence = self._publish(keys=keys, args=args)
        return Event(id=event_id(str(epoch), int(sequence)), type=type_, at=at, data=dict(data))

    def read(self, job: str, after_id: str | None, limit: int = 500) -> list[Event] | None:
        """Events after ``after_id`` (all that are kept if None); None if the id is of a lost epoch or was trimmed."""
        stream = self._keys.events(job)
        if after_id is None:
            return [decode_entry(*entry) for entry in self._redis.xrange(stream, count=limit)]
        place = parse_event_id(after_id)
        if place is None or place[0] != self._redis.get(self._keys.epoch):
            return None
        first = self._redis.xrange(stream, count=1)
        if not first or int(first[0][0].partition("-")[0]) > place[1] + 1:
            return None
        entries = self._redis.xrange(stream, min=f"({place[1]}-0", count=limit)
        return [decode_entry(*entry) for entry in entries]


def decode_entry(entry_id: str, fields: Mapping[str, str]) -> Event:
    """An event from its stream entry."""
    sequence = int(entry_id.partition("-")[0])
    data = json.loads(fields["data"])
    return Event.model_validate(
        {"id": event_id(fields["epoch"], sequence), "type": fields["type"], "at": fields["at"], "data": data}
    )
