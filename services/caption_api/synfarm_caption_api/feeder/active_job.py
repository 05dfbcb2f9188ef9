"""One active job in a pass of the feeder: count what is finished, repair what was lost, send what is next, close."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from synfarm.contracts import layout
from synfarm.contracts.jobs import JobSpec, JobState, Lane
from synfarm.contracts.manifests import Ended
from synfarm.contracts.renders import Stage
from synfarm.queue.board import Board, JobCounters
from synfarm.queue.dead_letter import bury
from synfarm.queue.dispatch import Dispatcher
from synfarm.queue.flight import Holder, Sent
from synfarm.storage.protocol import ObjectStore
from synfarm.telemetry import get_logger
from synfarm_caption_api.feeder.first_look import FirstLook
from synfarm_caption_api.feeder.ledger import FinishedUnit, Ledger
from synfarm_caption_api.feeder.manifest import create_ended, end_state
from synfarm_caption_api.feeder.notices import tell_end
from synfarm_caption_api.feeder.repair import QueueWatch, Verdict, judge
from synfarm_caption_api.feeder.settings import FeederSettings

__all__ = ["ActiveJob"]

_log = get_logger(__name__)
_LANE_UP = {Lane.LOW: Lane.NORMAL, Lane.NORMAL: Lane.HIGH}


class ActiveJob:
    """The leading feeder's view of one job; everything in it can be rebuilt from the store."""

    def __init__(
        self,
        spec: JobSpec,
        store: ObjectStore,
        board: Board,
        dispatch: Dispatcher,
        ledger: Ledger,
        rules: FeederSettings,
    ) -> None:
        self.spec, self.ledger = spec, ledger
        self._store, self._board, self._flight, self._dispatch = store, board, board.flight, dispatch
        self._rules = rules
        self._marked = ledger.watermark
        self._frontier = 0
        self._first: FirstLook | None = None
        self._hold_until = float("-inf")
        self._saved_at = float("-inf")
        self._saved = ledger.watermark if ledger.resumed else -1
        self._quiet_passes = 0
        self._cancelled_at: float | None = None
        self.counters = JobCounters()
        self.sent: dict[int, Sent] = {}
        self.claimed: frozenset[int] = frozenset()
        """Units that a worker had taken when :meth:`repair` looked last."""

    # What the store says.

    def settle(self, epoch: str, now: float, *, known: bool, forget: bool) -> list[FinishedUnit]:
        """Set counters up if Redis does not know them (any more), list, count, write parts and progress.

        Args:
            epoch: id of Redis' present memory.
            known: this feeder worked on the job before, so workers may be at it whatever Redis says.
            forget: the memory was lost, not only set back a little: every send is void.
        """
        self.counters = self._board.counters(self.spec.job)
        if self.counters.seeded != epoch or self.counters.watermark < self._marked:
            self._seed(epoch, now, known=known, forget=forget and self.counters.seeded is not None)
        self._frontier = max(self._frontier, self.counters.frontier)
        fresh = self.ledger.refresh(self._frontier)
        for unit in fresh:
            self._mark(unit)
        self._marked = max(self._marked, self.counters.watermark)
        if self.ledger.watermark > self._marked:
            self._board.advance(self.spec.job, self._marked, self.ledger.watermark)
            self._marked = self.ledger.watermark
        parts = self.ledger.part_count
        for unit in self.ledger.write_parts():
            c = unit.counts
            amounts = {"captions": c.captions, "images": c.images, "empty": c.empty, "bytes": c.bytes}
            self._board.add(self.spec.job, committed=1, dead=-1, **amounts)
        moved = self.ledger.watermark != self._saved
        if self.ledger.part_count > parts or (moved and now - self._saved_at >= self._rules.progress_seconds):
            self.ledger.save()
            self._saved, self._saved_at = self.ledger.watermark, now
        self.sent = self._flight.sent(self.spec.job)
        self._meet(self.sent)
        done = [unit for unit in self.sent if self.ledger.is_finished(unit)]
        self._flight.forget(self.spec.job, {*done, *(unit.line.unit for unit in fresh)})
        for unit_number in done:
            del self.sent[unit_number]
        return fresh

    def _seed(self, epoch: str, now: float, *, known: bool, forget: bool) -> None:
        ledger = self.ledger
        if forget:
            self._flight.forget_all(self.spec.job)
        if known or ledger.resumed or self.counters.seeded is not None:
            # Workers may be at units of which Redis knows nothing: let them renew their leases first.
            self._hold_until = now + self._rules.epoch_grace_seconds
        # Whatever was sent before lies below this; above it a unit cannot have captions yet.
        frontier = min(self.spec.units, max(self.counters.frontier, ledger.watermark + self._rules.span))
        self._board.seed(
            self.spec.job,
            epoch,
            watermark=ledger.watermark,
            frontier=frontier,
            counts=ledger.counts,
            draws=ledger.draws,
            rejections=ledger.rejections,
        )
        self._marked = ledger.watermark
        self._first = None
        self.counters = self._board.counters(self.spec.job)
        for unit in ledger.above_watermark():
            self._mark(unit)
        _log.info("job_counters_rebuilt", job=self.spec.job, watermark=ledger.watermark, epoch=epoch)

    def _mark(self, unit: FinishedUnit) -> None:
        number, job = unit.line.unit, self.spec.job
        if unit.written or unit.draws:
            self._board.mark_written(job, number, unit.written, unit.draws, unit.rejections)
        if unit.line.status == "committed":
            self._board.mark_committed(job, number, unit.counts)
        else:
            self._board.mark_dead(job, number)

    # What was lost.

    def repair(self, watch: QueueWatch, now: float) -> None:
        """Send again what will never come by itself."""
        if now < self._hold_until:
            return
        first = self._verdicts(watch, now)
        if not first:
            return
        # Look twice: between two readings of Redis a worker may have claimed, released or finished.
        second = self._verdicts(watch, now)
        for unit, verdict in first.items():
            if second.get(unit) is verdict:
                self._repair_unit(unit, verdict)

    def _verdicts(self, watch: QueueWatch, now: float) -> dict[int, Verdict]:
        job = self.spec.job
        self.sent = {u: s for u, s in self._flight.sent(job).items() if not self.ledger.is_finished(u)}
        self._meet(self.sent)
        claims = self._flight.claims(job)
        self.claimed = frozenset(claims)
        leases = self._flight.leases(job, self.sent)
        age = self._rules.age_seconds
        judged = {
            unit: judge(sent, claims.get(unit), unit in leases, watch, now, age_seconds=age)
            for unit, sent in self.sent.items()
        }
        return {unit: verdict for unit, verdict in judged.items() if verdict is not Verdict.KEEP}

    def _repair_unit(self, unit: int, verdict: Verdict) -> None:
        job, sent = self.spec.job, self.sent[unit]
        lane = Lane(sent.queue.rpartition(".")[2])
        if verdict is Verdict.AGED:
            if lane in _LANE_UP and self.send(unit, lane=_LANE_UP[lane]):
                _log.info("unit_moved_up", job=job, unit=unit, lane=_LANE_UP[lane].value)
            return
        stage = self.stage_of(unit)
        if stage is None:
            return  # committed meanwhile: the next listing sees it
        if verdict is Verdict.LOST_WORKER:
            self._flight.drop_claim(job, unit)
            lost = self._board.count_fault(job, unit, "lost_worker")
            self._board.add(job, lost_workers=1)
            if lost >= self._rules.max_lost_workers:
                reason = f"{lost} workers were lost while they worked on this unit"
                bury(self._store, job, unit, stage=sent.stage, fault="lost_worker", reason=reason, count=lost)
                return
        self.send(unit, lane=lane, stage=stage)
        self._board.add(job, repairs=1)
        _log.warning("unit_repaired", job=job, unit=unit, why=verdict.value, stage=stage.value)

    # What is next.

    def candidates(self, now: float) -> Iterator[int]:
        """Units that are neither finished nor in flight, lowest first, within the span."""
        if now < self._hold_until:
            return
        for unit in range(self.ledger.watermark, min(self.spec.units, self.ledger.watermark + self._rules.span)):
            if unit not in self.sent and not self.ledger.is_finished(unit):
                yield unit

    def blocked(self, stage: Stage, now: float) -> bool:
        """Whether sending backs off: after environment faults one unit at a time is tried, ever more seldom."""
        stall = self.counters.stalls.get(stage)
        if stall is None:
            return False
        delay = self._rules.backoff_min_seconds * 2.0 ** min(stall.faults - 1, 30)
        in_flight = any(sent.stage is stage for sent in self.sent.values())
        return in_flight or now < stall.at + min(self._rules.backoff_max_seconds, delay)

    def stage_of(self, unit: int) -> Stage | None:
        """What the unit needs next by what the store holds; None if it is committed or a living worker has it."""
        job = self.spec.job
        if unit >= self._frontier:
            return Stage.CAPTION  # never sent: nothing of it can exist
        told = self._first_look().stage_of(unit)
        if told is None and self._store.head(layout.commit(job, unit)) is not None:
            return None
        holder: Holder | None = self._flight.leases(job, [unit]).get(unit)
        if holder is not None:
            self._flight.adopt(job, unit, holder)
            self._meet([unit])
            return None
        if told is not None:
            return told  # not committed: its commit would be in this pass' listing, or the worker meets it
        return Stage.RENDER if self._store.head(layout.captions(job, unit)) is not None else Stage.CAPTION

    def _first_look(self) -> FirstLook:
        """Made when a unit is first asked about, so after workers had the time to tell what they are at."""
        if self._first is None:
            units = range(self.ledger.watermark, max(self.ledger.watermark, self._frontier))
            self._first = FirstLook(self._store, self.spec.job, units, self.sent)
        return self._first

    def _meet(self, units: Iterable[int]) -> None:
        if self._first is not None:
            self._first.meet(units)

    def send(self, unit: int, *, lane: Lane | None = None, stage: Stage | None = None) -> bool:
        """Send one unit; False if it turned out to need nothing."""
        stage = stage or self.stage_of(unit)
        if stage is None:
            return False
        task = self._dispatch.send(self.spec, unit, stage, lane=lane)
        self._meet([unit])
        self.sent[unit] = Sent(stage, task.queue, task.sequence, 0.0)
        return True

    def read_frontier(self) -> None:
        """Highest unit ever sent, as it is before this pass sends."""
        self.counters = self._board.counters(self.spec.job)
        self._frontier = self.counters.frontier

    # The end.

    def drained(self, now: float) -> bool:
        """Of a cancelled job: whether nobody works on it any more, seen twice, or the wait is over."""
        if self._cancelled_at is None:
            self._cancelled_at = now
        units = self.sent.keys() | self._flight.claims(self.spec.job).keys()
        self._quiet_passes = 0 if self._flight.leases(self.spec.job, units) else self._quiet_passes + 1
        waited = now - self._cancelled_at >= self._rules.cancel_drain_seconds
        return self._quiet_passes >= 2 or waited

    def close(self) -> Ended | None:
        """Last parts, card, end record, active mark removed; None: not everything is written yet, call again."""
        if not self.ledger.write_rest():
            return None
        counts, draws, rejections = self.ledger.total()
        missing = self.ledger.missing > 0
        state, reason = (JobState.CANCELLED, "cancelled") if missing else end_state(self.spec, counts)
        ended = create_ended(
            self._store,
            self.spec,
            self.ledger.generation,
            state=state,
            reason=reason,
            counts=counts,
            draws=draws,
            rejections=rejections,
            parts=self.ledger.parts(),
        )
        tell_end(self._store, self.spec, ended)
        self._store.delete(layout.active(self.spec.job))
        self._board.drop(self.spec.job, self._marked, self._frontier)
        _log.info("job_ended", job=self.spec.job, state=ended.state.value, images=ended.counts.images)
        return ended
