"""How fast the farm renders, by capability: a hint in Redis that the feeder keeps and a plan reads."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import Field
from redis import Redis

from synfarm.contracts.base import Contract
from synfarm.contracts.commits import Commit
from synfarm.contracts.jobs import RenderSettings
from synfarm.queue.keys import Keys

__all__ = ["RateBook", "UnitTiming", "timing_of"]

_KEPT = 64
_SMOOTHING = 0.05
"""Share of a new reading: two readings a second forget half in seven seconds."""


class UnitTiming(Contract):
    """What one unit cost one worker."""

    seconds: float = Field(gt=0)
    images: int = Field(ge=1)
    bytes: int = Field(ge=0)
    passes: float | None = None
    """Of a diffusion model's denoiser for an image, whose cost grows with them; None: of a renderer that has none."""

    def seconds_per_image(self, render: RenderSettings) -> float:
        """Of the same capability with these settings."""
        scale = 1.0 if self.passes is None else render.network_passes / self.passes
        return self.seconds / self.images * scale


def timing_of(commit: Commit, render: RenderSettings) -> UnitTiming | None:
    """What a commit tells, if it has images and a time."""
    seconds = commit.timings.get("cost") or commit.timings.get("total", 0.0)
    if seconds <= 0 or commit.shard is None:
        return None
    passes = render.network_passes if render.renderer == "diffusers" else None
    return UnitTiming(seconds=seconds, images=commit.images, bytes=commit.shard.size, passes=passes)


class RateBook:
    """The last timings of each capability. Every method may raise redis.exceptions.RedisError."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis: Any = redis
        self._keys = keys

    def note(self, capability: str, timings: Iterable[UnitTiming]) -> None:
        """Keep the last few."""
        values = [timing.to_bytes() for timing in timings][-_KEPT:]
        if values:
            pipe = self._redis.pipeline(transaction=False)
            pipe.lpush(self._keys.timings(capability), *values)
            pipe.ltrim(self._keys.timings(capability), 0, _KEPT - 1)
            pipe.execute()

    def timings(self, capability: str) -> list[UnitTiming]:
        """Newest first."""
        return [UnitTiming.from_peer(value) for value in self._redis.lrange(self._keys.timings(capability), 0, -1)]

    def note_throughput(self, capability: str, images_per_second: float) -> None:
        """One reading of what all workers of a capability make together, captions and all."""
        old = self.throughput(capability)
        new = images_per_second if old is None else old + _SMOOTHING * (images_per_second - old)
        self._redis.hset(self._keys.throughput, capability, f"{new:.6g}")

    def throughput(self, capability: str) -> float | None:
        """Images a second, as last seen; None: never."""
        value = self._redis.hget(self._keys.throughput, capability)
        return None if value is None else float(value)
