"""The clock of the farm: one for all machines, and one that tests turn by hand."""

from __future__ import annotations

from typing import Protocol

from redis import Redis

__all__ = ["Clock", "ManualClock", "RedisClock"]


class Clock(Protocol):
    """Seconds since the epoch."""

    def now(self) -> float: ...


class RedisClock:
    """The Redis server's clock: times of different machines are compared with each other, and hosts drift."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def now(self) -> float:
        seconds, microseconds = self._redis.time()
        return float(seconds) + float(microseconds) / 1e6


class ManualClock:
    """A clock that stands still until it is turned."""

    def __init__(self, start: float = 1_000_000.0) -> None:
        self._now = start

    def now(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        self._now += seconds
