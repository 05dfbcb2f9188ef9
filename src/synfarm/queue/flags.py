"""Pause, cancel and delete as workers see them: a Redis key polled each batch, refilled from the store."""

from __future__ import annotations

from dataclasses import dataclass

from redis import Redis

from synfarm.contracts import layout
from synfarm.queue.keys import Keys
from synfarm.storage.protocol import ObjectStore

__all__ = ["FlagBook", "JobFlags"]


@dataclass(frozen=True, slots=True)
class JobFlags:
    """What the user asked of a job."""

    paused: bool = False
    cancelled: bool = False
    deleted: bool = False


class FlagBook:
    """Reads through Redis to the store; the store is the truth, Redis only makes asking cheap."""

    def __init__(self, redis: Redis, keys: Keys, store: ObjectStore, *, ttl_seconds: float = 10.0) -> None:
        self._redis, self._keys, self._store = redis, keys, store
        self._ttl = max(1, round(ttl_seconds * 1000))

    def get(self, job: str) -> JobFlags:
        """The flags, from Redis if it knows them, else from the store."""
        value = self._redis.get(self._keys.flags(job))
        if value is not None:
            return _decode(str(value))
        flags = self._read(job)
        # NX: whoever changed the store meanwhile has written its own, newer value.
        self._redis.set(self._keys.flags(job), _encode(flags), px=self._ttl, nx=True)
        return flags

    def refresh(self, job: str) -> JobFlags:
        """Copy the store's flags to Redis: call after writing or deleting pause.json, cancel.json or tombstone.json."""
        flags = self._read(job)
        self._redis.set(self._keys.flags(job), _encode(flags), px=self._ttl)
        return flags

    def _read(self, job: str) -> JobFlags:
        deleted = self._store.head(layout.tombstone(job)) is not None
        cancelled = self._store.head(layout.cancel(job)) is not None
        return JobFlags(self._store.head(layout.pause(job)) is not None, cancelled, deleted)


def _encode(flags: JobFlags) -> str:
    return f"{flags.paused:d}{flags.cancelled:d}{flags.deleted:d}"


def _decode(value: str) -> JobFlags:
    paused, cancelled, deleted = (c == "1" for c in value)
    return JobFlags(paused, cancelled, deleted)
