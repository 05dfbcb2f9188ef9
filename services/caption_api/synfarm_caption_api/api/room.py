"""Room for one more job: the limits of a key on active jobs and planned captions, held across replicas."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from redis import Redis
from redis.exceptions import LockError, RedisError

from synfarm.auth import Principal
from synfarm.contracts.problems import ProblemError
from synfarm.queue.keys import Keys
from synfarm.telemetry import get_logger
from synfarm_caption_api.api.reading import JobReader

__all__ = ["Room"]

_log = get_logger(__name__)
_LOCK_SECONDS = 30.0
_WAIT_SECONDS = 5.0
_AGAIN_SECONDS = 60.0


class Room:
    """What counts is in the store; Redis only makes replicas count one after the other.

    While Redis is away a key with such limits gets no new job, because two replicas would each give it the last place
    and the images cost money; keys without limits, and everything else, do not notice.
    """

    def __init__(self, redis: Redis, keys: Keys, jobs: JobReader) -> None:
        self._redis, self._keys, self._jobs = redis, keys, jobs

    @staticmethod
    def is_limited(who: Principal) -> bool:
        return not (who.limits.jobs_active is None and who.limits.captions_planned is None)

    @contextmanager
    def for_job(self, who: Principal, captions: int) -> Iterator[None]:
        """Hold a place for a job of so many captions while the body makes it.

        Raises:
            ProblemError: 429, there is no room; 503, Redis is away.
        """
        if not self.is_limited(who):
            yield
            return
        lock = self._redis.lock(self._keys.room(who.owner), timeout=_LOCK_SECONDS, blocking_timeout=_WAIT_SECONDS)
        try:
            if not lock.acquire():
                raise ProblemError(
                    429,
                    "too_many_submissions",
                    "Other submissions of this owner are being looked at.",
                    hint="Send one job at a time.",
                    retry_after=1,
                )
        except RedisError as error:
            raise ProblemError(
                503,
                "redis_away",
                "Redis does not answer, and without it the limits of this key cannot be held.",
                hint="Send the request again, with the same Idempotency-Key.",
                retry_after=5,
            ) from error
        try:
            self._check(who, captions)
            yield
        finally:
            try:
                lock.release()
            except (LockError, RedisError) as error:
                _log.warning("room_left_to_expire", owner=who.owner, error=str(error))

    def _check(self, who: Principal, captions: int) -> None:
        limits, (jobs, planned) = who.limits, self._jobs.active_of(who.owner)
        if limits.jobs_active is not None and jobs >= limits.jobs_active:
            raise ProblemError(
                429,
                "too_many_jobs",
                f"{who.owner} has {jobs} jobs that have not ended; this key allows {limits.jobs_active}.",
                hint="Wait for one to end, or cancel one; GET /v1/jobs lists them.",
                retry_after=_AGAIN_SECONDS,
            )
        if limits.captions_planned is not None and planned + captions > limits.captions_planned:
            left = max(0, limits.captions_planned - planned)
            raise ProblemError(
                429,
                "too_many_captions",
                f"{who.owner} has {planned} captions planned in jobs that have not ended; with {captions} more they"
                f" would exceed the {limits.captions_planned} that this key allows.",
                field="captions",
                hint=f"Plan at most {left} now, or wait for a job to end.",
                retry_after=_AGAIN_SECONDS,
            )
