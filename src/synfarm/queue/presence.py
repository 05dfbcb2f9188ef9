"""Which workers are alive, what they serve and when they last got on: read by the feeder and by ``GET /v1/workers``."""

from __future__ import annotations

import threading
import time
from typing import Any

from pydantic import ValidationError
from redis import Redis
from redis.exceptions import RedisError

from synfarm.contracts.renders import UnitTask
from synfarm.contracts.workers import WorkerInfo
from synfarm.queue.draining import Draining
from synfarm.queue.keys import Keys
from synfarm.queue.lease import Lease
from synfarm.queue.patience import Patience
from synfarm.queue.serving import RESTART_SECONDS, is_able, serves
from synfarm.telemetry import get_logger

__all__ = ["Presence", "WorkerInfo", "live_workers"]

_log = get_logger(__name__)
_LOOK_SECONDS = 1.0
"""What changes is announced this soon."""


class Presence:
    """Announces one worker from a thread, so that a long batch does not make it look dead."""

    def __init__(
        self,
        redis: Redis,
        keys: Keys,
        info: WorkerInfo,
        *,
        draining: Draining | None = None,
        patience: Patience | None = None,
        ttl_seconds: float = 12.0,
    ) -> None:
        """
        Args:
            ttl_seconds: a worker is forgotten this long after its last word; it speaks every third of it, and at once
                when something but the age of its progress has changed.
        """
        self._redis, self._keys, self._draining = redis, keys, draining
        self._patience = patience or Patience()
        self._info = info
        self._ttl_ms = max(1, round(ttl_seconds * 1000))
        self._work: dict[str, tuple[UnitTask, Lease]] = {}
        self._idle_since = time.monotonic()
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

    def enter(self, task: UnitTask, lease: Lease) -> None:
        """Work on a unit began, by one attempt at it; called by the runner."""
        self._patience.unit_begins()
        with self._lock:
            self._work[lease.attempt] = (task, lease)

    def leave(self, lease: Lease) -> None:
        """Work under a lease ended; called by the runner."""
        with self._lock:
            self._work.pop(lease.attempt, None)
            self._idle_since = time.monotonic()
        self._patience.unit_ends()

    def info(self) -> WorkerInfo:
        """What is announced at this moment."""
        with self._lock:
            ages = [lease.idle_seconds for _, lease in self._work.values()]
            changes = {
                "units": tuple(sorted(f"{task.job}/{task.unit}" for task, _ in self._work.values())),
                "progress_age_seconds": round(max(ages), 1) if ages else None,
                "draining": self._draining is not None and self._draining.requested,
            }
            return self._info.model_copy(update=changes)

    def in_work(self) -> list[tuple[str, int, str, float]]:
        """(job, unit, attempt, seconds since the last progress) of the units in work."""
        with self._lock:
            work = list(self._work.values())
        return [(task.job, task.unit, lease.attempt, lease.idle_seconds) for task, lease in work]

    def hangs(self) -> bool:
        """Whether the process gets on with nothing that it has begun."""
        work = self.in_work()
        all_silent = bool(work) and all(self._patience.is_over(idle) for *_, idle in work)
        return all_silent or self._patience.load_is_over

    @property
    def idle_seconds(self) -> float | None:
        """Since the last unit ended; None while there is work."""
        with self._lock:
            return None if self._work else time.monotonic() - self._idle_since

    def _keep_announcing(self) -> None:
        said: WorkerInfo | None = None
        said_at = float("-inf")
        while True:
            info = self.info()
            news = info.model_copy(update={"progress_age_seconds": None})
            if news != said or time.monotonic() - said_at >= self._ttl_ms / 3000:
                try:
                    self._announce(info)
                    said, said_at = news, time.monotonic()
                except RedisError as error:
                    _log.warning("presence_not_announced", error=str(error))
            if self._stop.wait(min(_LOOK_SECONDS, self._ttl_ms / 3000)):
                return

    def _announce(self, info: WorkerInfo) -> None:
        pipe = self._redis.pipeline(transaction=False)
        pipe.sadd(self._keys.workers, info.id)
        pipe.set(self._keys.worker(info.id), info.to_bytes(), px=self._ttl_ms)
        if is_able(info):
            for capability in serves(info):
                pipe.set(self._keys.served(capability), info.id, px=RESTART_SECONDS * 1000)
        pipe.execute()


def live_workers(redis: Redis, keys: Keys) -> list[WorkerInfo]:
    """Workers announced within their TTL, by id; forgets the others.

    A newer worker may say more of itself than is known here: that is left out, since nothing is built on a heartbeat
    but who is there. One that cannot be read even so is left out whole: it must not end a pass of the feeder.
    """
    client: Any = redis
    ids = sorted(client.smembers(keys.workers))
    if not ids:
        return []
    values = client.mget([keys.worker(worker) for worker in ids])
    gone = [worker for worker, value in zip(ids, values, strict=True) if value is None]
    if gone:
        client.srem(keys.workers, *gone)
    told = [(worker, value) for worker, value in zip(ids, values, strict=True) if value is not None]
    return [info for worker, value in told if (info := _read(worker, value)) is not None]


def _read(worker: str, value: str) -> WorkerInfo | None:
    try:
        return WorkerInfo.from_peer(value)
    except ValidationError as error:
        _log.debug("worker_not_understood", worker=worker, error=str(error))
        return None
