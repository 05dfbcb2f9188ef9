"""A look at the messages that a worker will probably take next; takes none of them."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from typing import Any

from pydantic import ValidationError
from redis import Redis

from synfarm.contracts.renders import UnitTask
from synfarm.queue.keys import Keys

__all__ = ["WaitingUnits"]


class WaitingUnits:
    """The ends of a worker's queues, in the order in which it would take from them."""

    def __init__(
        self, redis: Redis, keys: Keys, queues: Sequence[str], order: Callable[[Sequence[str]], Sequence[str]] = list
    ) -> None:
        self._redis: Any = redis
        self._keys, self._queues, self._order = keys, queues, order

    def next(self, count: int) -> list[UnitTask]:
        """At most ``count`` units whose messages wait. Another worker may take any of them before this one does.

        Raises:
            redis.exceptions.RedisError: Redis is away.
        """
        queues = self._order(self._queues)
        pipe = self._redis.pipeline(transaction=False)
        for queue in queues:
            pipe.lrange(self._keys.queue(queue), -count, -1)  # BRPOP takes from the end
        found: list[UnitTask] = []
        for messages in pipe.execute():
            found += [task for raw in reversed(messages) if (task := _task(raw)) is not None]
            if len(found) >= count:
                break
        return found[:count]


def _task(raw: str) -> UnitTask | None:
    """The unit of a message as kombu writes it; None for what is none: this is a guess at work, not the work."""
    try:
        (message, *_), *_ = json.loads(base64.b64decode(json.loads(raw)["body"]))
        return UnitTask.from_message(message)
    except (ValueError, TypeError, LookupError, binascii.Error, ValidationError):
        return None
