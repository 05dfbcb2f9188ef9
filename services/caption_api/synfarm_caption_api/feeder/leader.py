"""The lock that makes one replica's feeder work; the others watch, and one takes over within seconds."""

from __future__ import annotations

from typing import Any

from redis import Redis
from ulid import ULID

from synfarm.queue.keys import Keys

__all__ = ["LeaderLock"]

_HOLD = """
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
"""
_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


class LeaderLock:
    """Held by renewing it at each step of a pass. Two leaders for a moment do no harm: what counts is create-only."""

    def __init__(self, redis: Redis, keys: Keys, seconds: float) -> None:
        self._key, self._token = keys.leader, str(ULID()).lower()
        self._ttl_ms = max(1, round(seconds * 1000))
        self._hold: Any = redis.register_script(_HOLD)
        self._release: Any = redis.register_script(_RELEASE)

    def hold(self) -> bool:
        """Take or keep the lock; False if another replica has it."""
        return int(self._hold(keys=[self._key], args=[self._token, self._ttl_ms])) == 1

    def release(self) -> None:
        """Give it up at once, so that another replica need not wait."""
        self._release(keys=[self._key], args=[self._token])
