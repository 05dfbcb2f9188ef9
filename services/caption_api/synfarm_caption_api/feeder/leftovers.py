"""What is left in Redis of jobs that have ended, and would stay for ever."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from redis import Redis

from synfarm.contracts import layout
from synfarm.queue.board import Board
from synfarm.queue.keys import Keys
from synfarm.storage.protocol import ObjectStore
from synfarm.telemetry import get_logger

__all__ = ["Leftovers"]

_log = get_logger(__name__)
_NO_END = -1


class Leftovers:
    """Drops them once more. Costs a look at every key of a job, so it comes seldom.

    A worker that slept through the end of its job, and a Redis that came back with what it held before the end, leave
    sends, claims and counters of a job that no feeder looks at any more.
    """

    def __init__(self, store: ObjectStore, redis: Redis, keys: Keys, board: Board, every_seconds: float) -> None:
        self._store, self._keys, self._board, self._every = store, keys, board, every_seconds
        self._redis: Any = redis
        self._last = float("-inf")

    def sweep(self, now: float, known: Collection[str]) -> None:
        """If it is time again. ``known``: jobs that are not asked about, because the feeder works on them."""
        if now - self._last < self._every:
            return
        self._last = now
        for job in sorted(self._lasting() - set(known)):
            if self._store.head(layout.active(job)) is None:
                counters = self._board.counters(job)
                self._board.drop(job, counters.watermark, counters.frontier)
                _log.info("leftovers_dropped", job=job)

    def reset(self) -> None:
        """Redis came back with another memory, or another replica led meanwhile: the next call looks."""
        self._last = float("-inf")

    def _lasting(self) -> set[str]:
        """Jobs with a key that does not expire by itself."""
        keys = list(self._redis.scan_iter(match=self._keys.job("*"), count=1000))
        pipe = self._redis.pipeline(transaction=False)
        for key in keys:
            pipe.ttl(key)
        ends = zip(keys, pipe.execute(), strict=True)
        return {self._keys.job_of(key) for key, seconds in ends if seconds == _NO_END}
