"""Jobs as their owners may read them: found, checked, viewed, listed."""

from __future__ import annotations

import json
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass

from pydantic import ValidationError
from redis.exceptions import RedisError

from synfarm.auth import Principal
from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.ids import check_ulid
from synfarm.contracts.jobs import JobSpec
from synfarm.contracts.manifests import Ended, Progress
from synfarm.contracts.problems import ProblemError
from synfarm.contracts.versions import beyond
from synfarm.contracts.views import JobPage, JobView
from synfarm.queue.board import Board, JobCounters
from synfarm.queue.flags import FlagBook, JobFlags
from synfarm.queue.specs import SpecCache
from synfarm.storage.protocol import ObjectMissing, ObjectStore
from synfarm.telemetry import get_logger
from synfarm_caption_api.feeder.crew import Crew
from synfarm_caption_api.feeder.view import job_view

__all__ = ["JobReader", "job_missing"]

_log = get_logger(__name__)
_KEPT = 256
"""Jobs remembered: a spec may hold 50,000 concepts."""
_LIVE_SHARE = 0.2
_READERS = 64
"""Jobs that are read from the store at once, at most."""
_SCAN = 1000
"""Specs looked at for one page: who owns few jobs among many gets short pages and a cursor, not a slow answer."""


def job_missing(job: str) -> ProblemError:
    """The same answer for a job of somebody else and for none: ids tell nothing."""
    return ProblemError(
        404, "job_not_found", f"There is no job {job[:64]!r} that you may see.", hint="GET /v1/jobs lists your jobs."
    )


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the store says of a job, all of it read at about the same moment."""

    spec: JobSpec
    active: bool
    ended: Ended | None
    """Of the newest generation that has ended, whether or not another is at work."""
    progress: Progress | None
    read_at: float


class JobReader:
    """Reads the store and, where it is there, the board; thread-safe."""

    def __init__(
        self, store: ObjectStore, board: Board, flags: FlagBook, crew: Crew, *, fresh_seconds: float = 0.0
    ) -> None:
        """
        Args:
            crew: says whom a job waits for in vain.
            fresh_seconds: what the store says of a job is read again after this long, what Redis says after a fifth of
                it; a page that many people have open then costs no more than one person's. What this replica changes
                it sees at once.
        """
        self._store, self._board, self._flags, self._crew, self._fresh = store, board, flags, crew, fresh_seconds
        self._specs = SpecCache(store, size=_KEPT)
        self._facts: OrderedDict[str, _Facts] = OrderedDict()
        self._views: OrderedDict[str, tuple[float, JobView]] = OrderedDict()
        self._lock = threading.Lock()
        self._reading = tuple(threading.Lock() for _ in range(_READERS))
        """By hash of the job: held while its facts are read."""

    def spec(self, job: str, principal: Principal) -> JobSpec:
        """The spec of a job that the principal may see.

        Raises:
            ProblemError: 404.
        """
        try:
            facts = self._known(check_ulid(job))
        except ValidationError as error:
            raise self._unreadable(job, principal, error) from error
        except (ValueError, ObjectMissing) as error:
            raise job_missing(job) from error
        # A submission that died between job.json and active/ made no job; its replay completes it.
        if not principal.may_see(facts.spec.owner) or not (facts.active or facts.ended):
            raise job_missing(job)
        return facts.spec

    def _unreadable(self, job: str, principal: Principal, error: ValidationError) -> ProblemError:
        """For whom the job belongs to, as far as that can be told; for others there is none."""
        newer = beyond(error)
        try:
            owner = json.loads(self._store.get(layout.job(job)))["owner"]
        except (ObjectMissing, LookupError, TypeError, ValueError):
            owner = None
        if newer is None or not isinstance(owner, str) or not principal.may_see(owner):
            _log.warning("job_unreadable", job=job, error=str(error))
            return job_missing(job)
        return ProblemError(
            501,
            "job_of_newer_version",
            f"This server does not read an object of job {job}: {newer}.",
            hint="A newer synfarm wrote it. Upgrade every caption-api; until then ask one that is upgraded.",
        )

    def renewed(self, spec: JobSpec) -> JobSpec:
        """The spec as the store has it now: call after a change."""
        with self._lock:
            self._facts.pop(spec.job, None)
            self._views.pop(spec.job, None)
        return self._specs.renew(spec.job)

    def view(self, spec: JobSpec) -> JobView:
        """The job now; without Redis, as of the feeder's last note in the store.

        Raises:
            ProblemError: 404, it has just been deleted.
        """
        now = time.monotonic()
        with self._lock:
            seen = self._views.get(spec.job)
        if seen is not None and now - seen[0] < self._fresh * _LIVE_SHARE:
            return seen[1]
        try:
            facts = self._known(spec.job)
        except ObjectMissing as error:
            raise job_missing(spec.job) from error
        ended, absent = None if facts.active else facts.ended, tuple[str, ...]()
        try:
            flags, counters = self._flags.get(spec.job), self._board.counters(spec.job)
            if ended is None:
                absent = self._crew.missing(facts.spec, counters)
        except RedisError as error:
            _log.warning("view_without_redis", job=spec.job, error=str(error))
            flags, counters = self._flags_in_store(spec.job), JobCounters()
        view = job_view(
            facts.spec,
            flags=flags,
            counters=counters,
            progress=facts.progress,
            ended=ended,
            now=utc_now(),
            absent=absent,
        )
        with self._lock:
            self._views[spec.job] = (now, view)
            while len(self._views) > _KEPT:
                self._views.popitem(last=False)
        return view

    def ended(self, job: str) -> Ended | None:
        """The job's last result, if it has ended and is not active again; read from the store now."""
        keys = [info.key for info in self._store.list(layout.ended_prefix(job))]
        if not keys or self._store.head(layout.active(job)) is not None:
            return None
        return Ended.from_bytes(self._store.get(keys[-1]))

    def spec_of(self, job: str) -> JobSpec:
        """The spec, whoever it belongs to.

        Raises:
            ObjectMissing: there is no such job.
        """
        return self._specs.get(job)

    def exists(self, job: str) -> bool:
        """Whether the job was wholly made and not removed, whoever it belongs to."""
        active = self._store.head(layout.active(job)) is not None
        return active or next(self._store.list(layout.ended_prefix(job), limit=1), None) is not None

    def active_of(self, owner: str) -> tuple[int, int]:
        """(jobs, captions planned) of an owner's jobs that have not ended, as the store has them now."""
        jobs = captions = 0
        for info in self._store.list(layout.active_prefix()):
            try:
                spec = self._specs.get(layout.parse_active(info.key))
            except (ValueError, ObjectMissing):
                continue  # no job, or one that is half-made or being removed
            if spec.owner == owner:
                jobs, captions = jobs + 1, captions + spec.captions
        return jobs, captions

    def page(self, principal: Principal, cursor: str | None, limit: int) -> JobPage:
        """Jobs below ``cursor``, newest first; ids begin with their time."""
        jobs = sorted((job for job in self._job_ids() if cursor is None or job < cursor), reverse=True)
        views: list[JobView] = []
        for looked_at, job in enumerate(jobs, 1):
            view = self._listed(job, principal)
            if view is not None:
                views.append(view)
            if (len(views) == limit or looked_at == _SCAN) and looked_at < len(jobs):
                return JobPage(items=tuple(views), next_cursor=job)
        return JobPage(items=tuple(views))

    def _known(self, job: str) -> _Facts:
        """Facts as fresh as is promised. Of requests that come at once one reads the store; the others wait for it, or
        take what was fresh a moment ago: a page that many have open must not ask the store many times a second."""
        found, age = self._remembered(job)
        if found is not None and age < self._fresh:
            return found
        reading = self._reading[hash(job) % len(self._reading)]
        if not reading.acquire(blocking=found is None or age >= 2 * self._fresh):
            assert found is not None
            return found
        try:
            again, age = self._remembered(job)
            if again is not None and age < self._fresh:
                return again
            found = self._read(job)
            with self._lock:
                self._facts[job] = found
                self._facts.move_to_end(job)
                while len(self._facts) > _KEPT:
                    self._facts.popitem(last=False)
            return found
        finally:
            reading.release()

    def _remembered(self, job: str) -> tuple[_Facts | None, float]:
        """What is known of a job, and for how many seconds."""
        with self._lock:
            found = self._facts.get(job)
        return found, 0.0 if found is None else time.monotonic() - found.read_at

    def _read(self, job: str) -> _Facts:
        now = time.monotonic()
        try:
            spec = self._specs.renew(job)
            # First whether it is active, then how it ended: a job that ends in between shows as running, not as none.
            active = self._store.head(layout.active(job)) is not None
            keys = [info.key for info in self._store.list(layout.ended_prefix(job))]
            ended = Ended.from_bytes(self._store.get(keys[-1])) if keys else None
            return _Facts(spec, active, ended, self._progress(job), now)
        except ObjectMissing:
            self._specs.forget(job)
            raise

    def _listed(self, job: str, principal: Principal) -> JobView | None:
        try:
            return self.view(self.spec(job, principal))
        except ProblemError:
            return None

    def _job_ids(self) -> list[str]:
        return list(self._store.list_folders(layout.jobs_prefix()))

    def _progress(self, job: str) -> Progress | None:
        try:
            return Progress.from_bytes(self._store.get(layout.progress(job)))
        except ObjectMissing:
            return None

    def _flags_in_store(self, job: str) -> JobFlags:
        there = [self._store.head(key(job)) is not None for key in (layout.pause, layout.cancel, layout.tombstone)]
        return JobFlags(*there)
