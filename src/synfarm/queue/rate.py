"""Requests a second of one key over all replicas: a token bucket in Redis, filled by Redis' own clock."""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import RedisError

from synfarm.auth import Principal
from synfarm.contracts.problems import ProblemError
from synfarm.queue.keys import Keys
from synfarm.telemetry import get_logger

__all__ = ["RateLimit"]

_log = get_logger(__name__)

_TAKE = """
-- KEYS bucket · ARGV rate burst
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1e6
local rate, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local bucket = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local at = tonumber(bucket[2] or now)
local tokens = math.min(burst, tonumber(bucket[1] or burst) + math.max(0, now - at) * rate)
local wait = 0
if tokens >= 1 then tokens = tokens - 1 else wait = (1 - tokens) / rate end
redis.call('HSET', KEYS[1], 'tokens', string.format('%.6f', tokens), 'at', string.format('%.6f', now))
redis.call('PEXPIRE', KEYS[1], math.ceil(burst / rate * 1000) + 1000)
return string.format('%.6f', wait)
"""
"""Seconds until there is room; 0: taken."""


class RateLimit:
    """Admits requests. While Redis is away it admits all: what costs money has limits of its own that do not."""

    def __init__(self, redis: AsyncRedis, keys: Keys) -> None:
        self._keys = keys
        self._take: Any = redis.register_script(_TAKE)

    async def __call__(self, who: Principal) -> None:
        """Take one token of the key's bucket; free for a key without such a limit.

        Raises:
            ProblemError: 429, with the seconds until there is one.
        """
        rate = who.limits.requests_per_second
        if rate is None or who.key is None:
            return
        try:
            wait = float(await self._take(keys=[self._keys.bucket(who.key)], args=[rate, who.limits.burst]))
        except RedisError as error:
            _log.warning("rate_not_limited", error=str(error))
            return
        if wait > 0:
            raise ProblemError(
                429,
                "too_many_requests",
                f"This key may send {rate:g} requests a second, {who.limits.burst} of them at once.",
                hint="Wait as long as Retry-After says; GET /v1/jobs/{id}/events tells of progress without polling.",
                retry_after=wait,
            )
