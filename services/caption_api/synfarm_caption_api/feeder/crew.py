"""For whom a job waits in vain: the workers that it needs, held against those that live."""

from __future__ import annotations

import threading
import time

from redis import Redis

from synfarm.contracts.jobs import JobSpec
from synfarm.contracts.renders import skill
from synfarm.queue.board import JobCounters
from synfarm.queue.keys import Keys
from synfarm.queue.presence import WorkerInfo, live_workers
from synfarm.queue.serving import CAPTION, missing_workers

__all__ = ["Crew"]


class Crew:
    """The living workers, looked up at most once in ``fresh_seconds``; thread-safe."""

    def __init__(self, redis: Redis, keys: Keys, *, fresh_seconds: float = 0.0, start_seconds: float = 0.0) -> None:
        """
        Args:
            start_seconds: caption workers are not missed before: on one machine they start after this process.
        """
        self._redis, self._keys, self._fresh = redis, keys, fresh_seconds
        self._started = time.monotonic() + start_seconds
        self._seen: tuple[float, list[WorkerInfo]] = (float("-inf"), [])
        self._lock = threading.Lock()

    def workers(self) -> list[WorkerInfo]:
        """
        Raises:
            redis.exceptions.RedisError: Redis is away.
        """
        with self._lock:
            if time.monotonic() - self._seen[0] >= self._fresh:
                self._seen = (time.monotonic(), live_workers(self._redis, self._keys))
            return self._seen[1]

    def missing(
        self,
        spec: JobSpec,
        counters: JobCounters,
        *,
        captions_wait: bool = False,
        workers: list[WorkerInfo] | None = None,
    ) -> tuple[str, ...]:
        """A sentence for each kind of worker that the job still needs and nobody is.

        Args:
            captions_wait: units are known to wait for a caption worker.
            workers: as :meth:`workers` gave them a moment ago.

        Raises:
            redis.exceptions.RedisError: Redis is away.
        """
        wanted = [skill(spec.render.capability, spec.schema_version)]
        # Above the frontier no unit has captions; below it only whoever knows what was sent can tell.
        if captions_wait or (counters.frontier < spec.units and time.monotonic() >= self._started):
            wanted.insert(0, skill(CAPTION, spec.schema_version))
        return missing_workers(self._redis, self._keys, self.workers() if workers is None else workers, *wanted)
