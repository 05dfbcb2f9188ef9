"""One pass of the feeder over all active jobs: O(window), whatever the size of the jobs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import Executor

from pydantic import ValidationError
from redis import Redis

from synfarm.contracts.events import EventType
from synfarm.contracts.jobs import JobState
from synfarm.contracts.renders import Stage, skill
from synfarm.queue.board import Board, JobCounters
from synfarm.queue.clock import Clock
from synfarm.queue.dispatch import Dispatcher
from synfarm.queue.events import EventLog
from synfarm.queue.flags import FlagBook
from synfarm.queue.keys import Keys
from synfarm.queue.presence import WorkerInfo
from synfarm.queue.rates import RateBook
from synfarm.storage.protocol import ObjectMissing, ObjectStore, StoreDamaged
from synfarm.telemetry import get_logger
from synfarm_caption_api.feeder.active_job import ActiveJob
from synfarm_caption_api.feeder.crew import Crew
from synfarm_caption_api.feeder.farm_record import FarmRecord
from synfarm_caption_api.feeder.leader import LeaderLock
from synfarm_caption_api.feeder.leftovers import Leftovers
from synfarm_caption_api.feeder.notices import tell_stall
from synfarm_caption_api.feeder.picture import JobFacts, picture
from synfarm_caption_api.feeder.purge import Purge
from synfarm_caption_api.feeder.repair import QueueWatch, queues_of
from synfarm_caption_api.feeder.roster import Entry, Roster, why_unreadable
from synfarm_caption_api.feeder.settings import FeederSettings
from synfarm_caption_api.feeder.window import Claimant, share, window_size

__all__ = ["Feeder"]

_log = get_logger(__name__)
_EVENTS_OF_THE_DELETED_SECONDS = 600


class Feeder:
    """Works while it holds the lock. Not thread-safe: one loop calls :meth:`run_pass`."""

    def __init__(
        self,
        *,
        store: ObjectStore,
        redis: Redis,
        keys: Keys,
        clock: Clock,
        board: Board,
        flags: FlagBook,
        dispatch: Dispatcher,
        events: EventLog,
        readers: Executor,
        settings: FeederSettings,
        record: FarmRecord | None = None,
    ) -> None:
        """``record`` is told the farm's picture at the end of each pass."""
        self._store, self._redis, self._keys, self._clock = store, redis, keys, clock
        self._board, self._flags, self._dispatch, self._events = board, flags, dispatch, events
        self._readers, self._settings = readers, settings
        self._rates, self._record = RateBook(redis, keys), record or FarmRecord()
        self._crew = Crew(redis, keys, start_seconds=settings.claim_gap_seconds / 2)
        self._lock = LeaderLock(redis, keys, settings.lock_seconds)
        self._leftovers = Leftovers(store, redis, keys, board, settings.sweep_seconds)
        self._watch = QueueWatch(settings.claim_gap_seconds, settings.settle_seconds)
        self._lengths: dict[str, int] = {}
        self._roster = Roster(store, board, dispatch, events, readers, settings)
        self._jobs = self._roster.jobs
        self._epoch: str | None = None
        self._beat: int | None = None

    def run_pass(self) -> bool:
        """One pass; False if another replica leads.

        Raises:
            redis.exceptions.RedisError, kombu.exceptions.OperationalError, StoreError: something is away; the next
                pass begins where this one ended.
        """
        if not self._lock.hold():
            self._jobs.clear()
            self._record.withdraw()
            self._epoch = self._beat = None
            self._watch.reset()
            self._leftovers.reset()
            return False
        epoch, forget = self._memory()
        now = self._clock.now()
        for name in self._roster.look(now):
            self._record.ended(name, None)
        for name, entry in list(self._jobs.items()):
            if not self._lock.hold():
                return False
            self._settle(name, entry, epoch, now, forget=forget)
        self._observe_queues(now)
        self._epoch = epoch
        runnable = [entry for entry in self._jobs.values() if entry.runs]
        workers = self._crew.workers()
        for entry in runnable:
            entry.job.read_frontier()
            entry.job.repair(self._watch, now)
            self._tell_missing_workers(entry, workers, now)
        self._fill(runnable, workers, now)
        made: dict[str, float] = defaultdict(float)
        facts: list[JobFacts] = []
        for name, entry in self._jobs.items():
            counters = self._board.counters(name)
            self._record.note(name, counters)
            facts.append(entry.facts(counters))
            entry.announce.tell(now, entry.flags, counters)
            self._tell_stall(entry, counters, now)
            if entry.runs and not counters.stalled:
                made[entry.job.spec.render.capability] += counters.images_per_second or 0.0
        unopened = self._roster.unopened
        self._record.tell(picture(facts, unopened=unopened, workers=workers, queues=self._lengths, now=now))
        self._leftovers.sweep(now, self._jobs)
        for capability, images_per_second in made.items():
            if images_per_second > 0:
                self._rates.note_throughput(capability, images_per_second)
        return True

    def resign(self) -> None:
        """Give the lock up at a clean stop."""
        self._lock.release()

    def _settle(self, name: str, entry: Entry, epoch: str, now: float, *, forget: bool) -> None:
        """One job's look at the store. An object that cannot be read holds up its own job and no other."""
        known = self._epoch is not None and entry.since < now
        try:
            entry.flags = self._flags.get(name)
            if entry.flags.deleted:
                self._purge(name, entry, now)
                return
            entry.purge = None
            fresh = entry.job.settle(epoch, now, known=known, forget=forget)
            entry.announce.finished([unit.line.unit for unit in fresh])
            capability = entry.job.spec.render.capability
            self._rates.note(capability, [unit.timing for unit in fresh if unit.timing is not None])
            self._close_if_done(name, entry, now)
            entry.unreadable = None
        except (ValidationError, StoreDamaged, ObjectMissing) as error:
            entry.unreadable = why_unreadable(error)
            _log.error("job_held_up", job=name, error=str(error))
            self._board.set_held_up(name, entry.unreadable)

    def _memory(self) -> tuple[str, bool]:
        """Redis' epoch, and whether all sends are void (its memory was lost, not only set back)."""
        epoch, beat = self._board.ensure_epoch(), self._board.beat()
        before, self._beat = self._beat, beat
        if self._epoch is not None and epoch != self._epoch:
            _log.warning("redis_memory_lost", epoch=epoch)
            self._watch.reset()
            return epoch, True
        if before is not None and beat <= before:
            epoch = self._board.renew_epoch()
            _log.warning("redis_memory_set_back", epoch=epoch)
            self._watch.reset()
            self._leftovers.reset()
            return epoch, False
        # Of a job that another leader set up in an epoch that is gone, the sends are void too.
        return epoch, self._epoch is None

    def _close_if_done(self, name: str, entry: Entry, now: float) -> None:
        ledger = entry.job.ledger
        if not ledger.complete:
            # From the next listing on nothing is waited for; a long job takes several to be walked to its end.
            ledger.closing = ledger.closing or (entry.flags.cancelled and entry.job.drained(now))
            return
        ended = entry.job.close()
        if ended is not None:
            last = self._board.counters(name)
            entry.announce.tell(now, entry.flags, last, ended)
            self._record.note(name, last)
            self._record.ended(name, ended.state)
            del self._jobs[name]

    def _purge(self, name: str, entry: Entry, now: float) -> None:
        if entry.purge is None:
            entry.purge = Purge(self._store, self._board, name, self._readers, self._settings, now)
        if entry.purge.step(now):
            self._flags.refresh(name)
            self._record.ended(name, None)
            del self._jobs[name]
            if self._flags.get(name).deleted:
                gone = {"state": JobState.CANCELLED.value, "reason": "deleted"}
                self._events.publish(name, EventType.STATE, gone)  # ends the streams of those who follow it
                self._board.end_events(name, _EVENTS_OF_THE_DELETED_SECONDS)

    def _observe_queues(self, now: float) -> None:
        queues = set().union(*(queues_of(entry.job.sent.values()) for entry in self._jobs.values()))
        self._lengths = {queue: self._board.flight.queue_length(queue) for queue in queues}
        self._watch.observe(now, self._lengths, self._board.flight.claimed())

    def _fill(self, entries: list[Entry], workers: list[WorkerInfo], now: float) -> None:
        pools: dict[str, list[ActiveJob]] = defaultdict(list)
        for entry in entries:
            spec = entry.job.spec
            pools[f"{skill(spec.render.capability, spec.schema_version)}.{spec.lane.value}"].append(entry.job)
        rules = self._settings
        for pool, jobs in pools.items():
            window = window_size(
                workers,
                pool.rpartition(".")[0],
                per_slot=rules.window_per_slot,
                low=rules.window_min,
                high=rules.window_max,
            )
            self._fill_pool(pool, jobs, window, now)

    def _fill_pool(self, pool: str, jobs: list[ActiveJob], window: int, now: float) -> None:
        by_name = {job.spec.job: job for job in jobs}
        waiting: dict[str, Iterator[int]] = {name: job.candidates(now) for name, job in by_name.items()}
        claimants = [Claimant(job.spec.job, job.spec.owner, pool, len(job.sent)) for job in jobs]
        turns = share(claimants, window)
        claimant = next(turns, None)
        while claimant is not None:
            sent = self._send_next(by_name[claimant.job], waiting[claimant.job], now)
            try:
                claimant = turns.send(sent)
            except StopIteration:
                return

    def _send_next(self, job: ActiveJob, candidates: Iterator[int], now: float) -> bool:
        """Send the job's next unit that needs something; False if it has none for now."""
        for unit in candidates:
            stage = job.stage_of(unit)
            if stage is None:
                continue
            if job.blocked(stage, now):
                return False
            return job.send(unit, stage=stage)
        return False

    def _tell_stall(self, entry: Entry, counters: JobCounters, now: float) -> None:
        if not entry.runs or counters.stalled is None:
            entry.stalled_since = None
            return
        since = entry.stalled_since = now if entry.stalled_since is None else entry.stalled_since
        if now - since >= self._settings.stall_told_seconds:
            tell_stall(self._store, entry.job.spec, counters.stalled, int(now // 3600))
            entry.stalled_since = float("inf")  # told; until it runs again

    def _tell_missing_workers(self, entry: Entry, workers: list[WorkerInfo], now: float) -> None:
        """Say so when nobody can do what the job needs; of captions not in the first moments, while workers start."""
        job = entry.job
        wait = now - entry.since >= self._settings.claim_gap_seconds / 2
        captions_wait = wait and any(sent.stage is Stage.CAPTION for sent in job.sent.values())
        missing = self._crew.missing(job.spec, job.counters, captions_wait=captions_wait, workers=workers)
        reason = "; ".join(missing) or None
        if reason != job.counters.held_up:
            self._board.set_held_up(job.spec.job, reason)
