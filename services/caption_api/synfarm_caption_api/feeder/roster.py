"""Which jobs there are to work on: found by their marks, opened once, left alone while they cannot be read."""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass

from pydantic import ValidationError

from synfarm.contracts import layout
from synfarm.contracts.versions import beyond
from synfarm.queue.board import Board, JobCounters
from synfarm.queue.dispatch import Dispatcher
from synfarm.queue.events import EventLog
from synfarm.queue.flags import JobFlags
from synfarm.queue.specs import read_spec
from synfarm.storage.protocol import ObjectMissing, ObjectStore
from synfarm.telemetry import get_logger
from synfarm_caption_api.feeder.active_job import ActiveJob
from synfarm_caption_api.feeder.announce import Announcer
from synfarm_caption_api.feeder.ledger import Ledger
from synfarm_caption_api.feeder.picture import JobFacts
from synfarm_caption_api.feeder.purge import Purge, is_deleted
from synfarm_caption_api.feeder.reopening import reopen
from synfarm_caption_api.feeder.settings import FeederSettings

__all__ = ["Entry", "Roster", "why_unreadable"]

_log = get_logger(__name__)
_UNREADABLE_SECONDS = 30.0
"""A job whose spec cannot be read is looked at again after this long."""


@dataclass(slots=True)
class Entry:
    """An active job, and what successive passes keep of it."""

    job: ActiveJob
    announce: Announcer
    flags: JobFlags
    since: float
    unreadable: str | None = None
    purge: Purge | None = None
    stalled_since: float | None = None

    @property
    def runs(self) -> bool:
        """Whether its units may be sent."""
        flags = self.flags
        return not (flags.paused or flags.cancelled or flags.deleted) and self.unreadable is None

    def facts(self, counters: JobCounters) -> JobFacts:
        job = self.job
        return JobFacts(job.spec, self.flags, counters, job.sent, job.claimed, self.unreadable is not None)


class Roster:
    """The active jobs of the leading feeder, in the order in which it met them."""

    def __init__(
        self,
        store: ObjectStore,
        board: Board,
        dispatch: Dispatcher,
        events: EventLog,
        readers: Executor,
        settings: FeederSettings,
    ) -> None:
        self._store, self._board, self._dispatch, self._events = store, board, dispatch, events
        self._readers, self._settings = readers, settings
        self.jobs: dict[str, Entry] = {}
        """Whoever closes a job takes it out."""
        self._unreadable: dict[str, float] = {}

    @property
    def unopened(self) -> int:
        """Active jobs whose spec cannot be read."""
        return len(self._unreadable)

    def look(self, now: float) -> list[str]:
        """Open what is new; the jobs that are not active any more, which are dropped.

        Raises:
            StoreError, RedisError: something is away.
        """
        listed = set()
        for info in self._store.list(layout.active_prefix()):
            try:
                name = layout.parse_active(info.key)
            except ValueError:
                _log.warning("not_an_active_job", key=info.key)
                continue
            listed.add(name)
            if name not in self.jobs and now >= self._unreadable.get(name, now):
                entry = self._open(name, now)
                if entry is not None:
                    self.jobs[name] = entry
        gone = [name for name in self.jobs if name not in listed]
        for name in gone:
            del self.jobs[name]
        self._unreadable = {name: again for name, again in self._unreadable.items() if name in listed}
        return gone

    def _open(self, name: str, now: float) -> Entry | None:
        rules = self._settings
        try:
            if not reopen(self._store, self._board, name, letters=rules.deletes_per_pass):
                return None
            spec = read_spec(self._store, name)
            ledger = Ledger(
                self._store,
                spec,
                self._readers,
                span=rules.span,
                part_units=rules.part_units,
                reads=rules.reads_per_pass,
            )
        except ObjectMissing:
            if is_deleted(self._store, name):
                self._store.delete(layout.active(name))  # its purge was killed right before this
            return None  # else half-made: the client's replay of the same request completes it
        except ValidationError as error:
            self._leave_alone(name, error, now)
            return None
        self._unreadable.pop(name, None)
        job = ActiveJob(spec, self._store, self._board, self._dispatch, ledger, rules)
        announce = Announcer(spec, self._board, self._events, least_seconds=rules.pass_seconds)
        return Entry(job, announce, JobFlags(), now)

    def _leave_alone(self, name: str, error: ValidationError, now: float) -> None:
        """A job of a newer contract waits for a newer feeder; a replica that reads its spec shows why."""
        reason = why_unreadable(error)
        self._unreadable[name] = now + _UNREADABLE_SECONDS
        _log.error("job_unreadable", job=name, error=reason, again_in=_UNREADABLE_SECONDS)
        self._board.set_held_up(name, reason)


def why_unreadable(error: Exception) -> str:
    """In words, for whoever looks at the job."""
    newer = beyond(error) if isinstance(error, ValidationError) else None
    if newer is not None:
        return f"the leading caption-api does not read this: {newer}; upgrade every caption-api"
    return f"an object of the job cannot be read: {error}"
