"""Who can do a job's work, and what to say when nobody can: one rule for plans, answers about jobs and the feeder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis import Redis

from synfarm.contracts.workers import WorkerInfo
from synfarm.queue.keys import Keys

__all__ = ["CAPTION", "RESTART_SECONDS", "is_able", "missing_workers", "serves"]

CAPTION = "caption"
"""What a caption worker serves, beside the capabilities of render workers."""
RESTART_SECONDS = 30
"""A worker that is gone for less is being started again, and nobody is told of it."""


def serves(worker: WorkerInfo) -> tuple[str, ...]:
    """What it serves: capabilities, or captions."""
    return (CAPTION,) if worker.kind == "caption" else worker.capabilities


def is_able(worker: WorkerInfo) -> bool:
    """Whether it takes units, now or once it has loaded; not one that stops, or that fails to load what it must."""
    return not worker.draining and not (worker.loading is not None and worker.trouble is not None)


def missing_workers(redis: Redis, keys: Keys, workers: Sequence[WorkerInfo], *wanted: str) -> tuple[str, ...]:
    """A sentence for each of ``wanted`` (capabilities, or :data:`CAPTION`) that no worker serves; with what to do.

    Raises:
        redis.exceptions.RedisError: Redis is away.
    """
    alone = [what for what in wanted if not any(what in serves(worker) and is_able(worker) for worker in workers)]
    if not alone:
        return ()
    client: Any = redis
    lately = client.mget([keys.served(what) for what in alone])
    return tuple(_sentence(what, workers) for what, seen in zip(alone, lately, strict=True) if seen is None)


def _sentence(what: str, workers: Sequence[WorkerInfo]) -> str:
    if what == CAPTION:
        return "no caption worker is alive: start one"
    unable = [worker.trouble for worker in workers if what in serves(worker) and worker.trouble and worker.loading]
    if unable:
        return f"no render worker that serves {what} can load its model: {unable[0]}"
    return f"no render worker serves {what}: start one with it in SYNFARM_RENDER_CAPABILITIES"
