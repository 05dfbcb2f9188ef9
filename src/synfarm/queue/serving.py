"""Who can do a job's work, and what to say when nobody can: one rule for plans, answers about jobs and the feeder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis import Redis

from synfarm.contracts.renders import CAPTION, skill
from synfarm.contracts.workers import WorkerInfo
from synfarm.queue.keys import Keys

__all__ = ["CAPTION", "RESTART_SECONDS", "is_able", "missing_workers", "serves"]

RESTART_SECONDS = 30
"""A worker that is gone for less is being started again, and nobody is told of it."""


def serves(worker: WorkerInfo) -> tuple[str, ...]:
    """What it serves: capabilities, or captions; each for every contract that it reads."""
    kinds = (CAPTION,) if worker.kind == "caption" else worker.capabilities
    return tuple(skill(what, version) for what in kinds for version in worker.reads)


def is_able(worker: WorkerInfo) -> bool:
    """Whether it takes units, now or once it has loaded; not one that stops, or that fails to load what it must."""
    return not worker.draining and not (worker.loading is not None and worker.trouble is not None)


def missing_workers(redis: Redis, keys: Keys, workers: Sequence[WorkerInfo], *wanted: str) -> tuple[str, ...]:
    """A sentence for each of ``wanted`` (skills) that no worker serves; with what to do.

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
    kind, _, version = what.partition(".v")
    if version and any(kind in serves(worker) for worker in workers):
        whom = "caption" if kind == CAPTION else "render"
        return f"no {whom} worker reads contract {version}, which the job has: upgrade the {whom} workers"
    if kind == CAPTION:
        return "no caption worker is alive: start one"
    unable = [worker.trouble for worker in workers if what in serves(worker) and worker.trouble and worker.loading]
    if unable:
        return f"no render worker that serves {what} can load its model: {unable[0]}"
    return f"no render worker serves {kind}: start one with it in SYNFARM_RENDER_CAPABILITIES"
