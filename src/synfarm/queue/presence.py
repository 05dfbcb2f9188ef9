"""Which workers are alive, what they serve and when they last got on: read by the feeder and by ``GET /v1/workers``."""

from __future__ import annotations

import threading
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from synfarm.contracts.workers import WorkerInfo
from synfarm.queue.draining import Draining
from synfarm.queue.keys import Keys
from synfarm.queue.lease import Lease
from synfarm.telemetry import get_logger

__all__ = ["Presence", "WorkerInfo", "live_workers"]

_log = get_logger(__name__)


class Presence:
    """Announces one worker from a thread, so that a long batch does not make it look dead."""

    def __init__(
        self,
        redis: Redis,
        keys: Keys,
        info: WorkerInfo,
        *,
        draining: Draining | None = None,
        ttl_seconds: float = 15.0,
    ) -> None:
        self._redis, self._keys, self._draining = redis, keys, draining
        self._info = info
        self._ttl_ms = max(1, round(ttl_seconds * 1000))
        self._work: dict[str, Lease] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep_announcing, name="presence", daemon=True)

    def start(self) -> None:
        """Announce now and from here on."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and take the announcement back, so that nobody counts on this worker."""
        self._stop.set()
        self._thread.join()
        try:
            self._redis.delete(self._keys.worker(self._info.id))
            self._redis.srem(self._keys.workers, self._info.id)
        except RedisError as error:
            _log.warning("presence_not_withdrawn", error=str(error))

    def update(self, **changes: object) -> None:
        """Change fields of the info, for example ``model="..."``; the units are kept by the runner."""
        with self._lock:
            self._info = self._info.model_copy(update=changes)

    def enter(self, unit: str, lease: Lease) -> None:
        """Work on ``unit`` began; called by the runner."""
        with self._lock:
            self._work[unit] = lease

    def leave(self, unit: str) -> None:
        """Work on ``unit`` ended; called by the runner."""
        with self._lock:
            self._work.pop(unit, None)

    def info(self) -> WorkerInfo:
        """What is announced at this moment."""
        with self._lock:
            ages = [lease.idle_seconds for lease in self._work.values()]
            changes = {
                "units": tuple(sorted(self._work)),
                "progress_age_seconds": round(max(ages), 1) if ages else None,
                "draining": self._draining is not None and self._draining.requested,
            }
            return self._info.model_copy(update=changes)

    def _keep_announcing(self) -> None:
        while True:
            info = self.info()
            try:
                self._redis.sadd(self._keys.workers, info.id)
                self._redis.set(self._keys.worker(info.id), info.to_bytes(), px=self._ttl_ms)
            except RedisError as error:
                _log.warning("presence_not_announced", error=str(error))
            if self._stop.wait(self._ttl_ms / 3000):
                return


def live_workers(redis: Redis, keys: Keys) -> list[WorkerInfo]:
    """Workers announced within their TTL, by id; forgets the others."""
    client: Any = redis
    ids = sorted(client.smembers(keys.workers))
    if not ids:
        return []
    values = client.mget([keys.worker(worker) for worker in ids])
    gone = [worker for worker, value in zip(ids, values, strict=True) if value is None]
    if gone:
        client.srem(keys.workers, *gone)
    return [WorkerInfo.from_bytes(value) for value in values if value is not None]
