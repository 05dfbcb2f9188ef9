"""The harness of one unit: claim, look whether it is still wanted, work, classify what went wrong, let go.

Work ends in two ways. It returns nothing when the unit is done; or it returns a :class:`Finishing` when its device time
is over, and the runner runs that beside the next unit. To everyone outside the unit is in work until it has finished:
its lease is renewed, its worker names it, and what goes wrong means the same.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, TypeVar

import structlog
from kombu.exceptions import OperationalError
from pydantic import ValidationError
from redis.exceptions import RedisError

from synfarm.contracts import layout
from synfarm.contracts.ids import check_ulid, check_unit
from synfarm.contracts.jobs import JobSpec
from synfarm.contracts.renders import Stage, UnitTask
from synfarm.contracts.versions import beyond
from synfarm.faults import Faults
from synfarm.queue.board import Board
from synfarm.queue.dead_letter import bury
from synfarm.queue.draining import Draining
from synfarm.queue.finishing import Finishing, FinishingRoom
from synfarm.queue.flags import FlagBook
from synfarm.queue.lease import Interrupt, Lease, LeaseBook, UnitInterrupted
from synfarm.queue.presence import Presence
from synfarm.queue.specs import SpecCache
from synfarm.storage.protocol import ObjectStore, StoreRefused, StoreUnavailable
from synfarm.telemetry import get_logger

__all__ = ["EnvironmentFault", "Outcome", "UnitFault", "UnitRunner", "Work"]

_log = get_logger(__name__)
T = TypeVar("T")

Work = Callable[[JobSpec, UnitTask, Lease], Finishing | None]
"""Does one stage of one unit. Returns None when it is done, commit included, by this worker or by another; or what is
left of it, commit included, for a thread beside the next unit."""


class UnitFault(Exception):
    """The unit itself cannot be done (NaN, bad captions, out of memory at batch 1): counted, dead after three."""


class EnvironmentFault(Exception):
    """What every unit needs is away (LLM, model, store): never counted; the job shows ``stalled: <message>``."""


_ENVIRONMENT = (EnvironmentFault, StoreUnavailable, StoreRefused, RedisError, OperationalError)


class Outcome(StrEnum):
    """How a message ended."""

    DONE = "done"
    DROPPED = "dropped"
    """Held by another worker, superseded, committed already, or its job has ended."""
    FAULT = "fault"
    DEAD = "dead"
    ENVIRONMENT = "environment"
    HANDED_BACK = "handed_back"
    """Stopping worker, pause or cancel: the unit is free for others at once."""
    LOST = "lost"
    """Another worker took the unit over."""


_FORGET = {Outcome.FAULT, Outcome.ENVIRONMENT, Outcome.HANDED_BACK}
"""After these the feeder may send the unit again without waiting for anything."""


class UnitRunner:
    """Runs messages through ``work``; thread-safe, one a process. ``run`` raises nothing that a message may cause."""

    def __init__(
        self,
        *,
        store: ObjectStore,
        board: Board,
        flags: FlagBook,
        leases: LeaseBook,
        faults: Faults,
        draining: Draining,
        presence: Presence | None = None,
        specs: SpecCache | None = None,
        room: FinishingRoom | None = None,
        claimed: Callable[[UnitTask], None] = lambda _: None,
        max_unit_faults: int = 3,
    ) -> None:
        """
        Args:
            room: where units finish; without one each is finished before :meth:`run` returns.
            claimed: told of a unit before the store is asked whether it needs work; returns at once.
        """
        self._store, self._board, self._flags, self._leases = store, board, flags, leases
        self._faults, self._draining, self._presence = faults, draining, presence
        self._room, self._max_unit_faults, self._claimed = room, max_unit_faults, claimed
        self._specs = specs or SpecCache(store)

    def run_message(
        self, message: dict[str, Any], work: Work, told: Callable[[Outcome], None] = lambda _: None
    ) -> Outcome | None:
        """As :meth:`run`, of a message as the queue gave it; one that cannot be read is left alone."""
        try:
            task = UnitTask.from_message(message)
        except ValidationError as error:
            self._left_alone(message, beyond(error) or f"it names no unit: {error}")
            told(Outcome.ENVIRONMENT)
            return Outcome.ENVIRONMENT
        return self.run(task, work, told)

    def run(self, task: UnitTask, work: Work, told: Callable[[Outcome], None] = lambda _: None) -> Outcome | None:
        """Handle one message. Reaches the fault hook ``<stage>.after_claim``.

        Args:
            told: hears once how the message ended; from another thread if the unit finishes there.

        Returns:
            How it ended; None if it finishes in the room. Then there is room for another unit.
        """
        with structlog.contextvars.bound_contextvars(job=task.job, unit=task.unit, stage=task.stage.value):
            try:
                lease = self._leases.claim(task, watch=lambda: self._interrupt(task), remaining=self._remaining)
            except RedisError as error:
                _log.warning("claim_failed", error=str(error))
                told(Outcome.ENVIRONMENT)
                return Outcome.ENVIRONMENT
            if lease is None:
                told(Outcome.DROPPED)
                return Outcome.DROPPED
            with structlog.contextvars.bound_contextvars(attempt=lease.attempt):
                return self._run(task, work, lease, told)

    def _run(self, task: UnitTask, work: Work, lease: Lease, told: Callable[[Outcome], None]) -> Outcome | None:
        if self._presence is not None:
            self._presence.enter(task, lease)
        end: Outcome | Finishing | None = Outcome.HANDED_BACK  # what it is if the process is told to end in the middle
        try:
            end = self._classified(task, lease, lambda: self._worked(task, work, lease))
            if isinstance(end, Finishing) and self._room is not None:
                rest = end
                end = Outcome.HANDED_BACK
                self._room.enter(rest.size, lambda: self._finish(task, lease, rest, told))
                end = None
        finally:
            if isinstance(end, Outcome):
                self._let_go(task, lease, end)
                told(end)
        if isinstance(end, Finishing):
            return self._finish(task, lease, end, told)
        if end is None and self._room is not None:
            self._room.wait_for_room(lambda: not self._draining.requested)
        return end

    def _worked(self, task: UnitTask, work: Work, lease: Lease) -> Outcome | Finishing:
        dropped = self._refusal(task)
        if dropped is not None:
            return dropped
        self._faults.reach(f"{task.stage.value}.after_claim", task.unit)
        try:
            spec = self._specs.get(task.job, unit=task.unit)
        except ValidationError as error:
            if beyond(error) is not None:
                raise
            # Of every unit of the job: none of them is to blame.
            raise EnvironmentFault(f"the job's spec or an opening cannot be read: {error}") from error
        return work(spec, task, lease) or self._done(task)

    def _finish(self, task: UnitTask, lease: Lease, rest: Finishing, told: Callable[[Outcome], None]) -> Outcome:
        def part() -> Outcome:
            rest.run()
            return self._done(task)

        end = Outcome.HANDED_BACK
        try:
            end = self._classified(task, lease, part)
        finally:
            self._let_go(task, lease, end)
            told(end)
        return end

    def _let_go(self, task: UnitTask, lease: Lease, outcome: Outcome) -> None:
        if self._presence is not None:
            self._presence.leave(lease)
        try:
            self._leases.release(lease, forget=outcome in _FORGET)
        except RedisError as error:
            _log.warning("lease_left_to_expire", error=str(error))
        _log.info("unit_left", outcome=outcome.value)

    def _classified(self, task: UnitTask, lease: Lease, part: Callable[[], T]) -> T | Outcome:
        """Run a part of a unit's work; what it raises becomes the outcome that this means."""
        try:
            return part()
        except UnitInterrupted as stop:
            return Outcome.LOST if stop.interrupt is Interrupt.LOST else Outcome.HANDED_BACK
        except _ENVIRONMENT as error:
            return self._environment(task, error)
        except Exception as error:  # noqa: BLE001 - the border of work: whatever is left is the unit's fault
            newer = beyond(error) if isinstance(error, ValidationError) else None
            if newer is not None:
                # Its writer could read it: it is this worker that lacks something.
                return self._environment(task, EnvironmentFault(_unread(task.stage, newer)))
            _log.exception("unit_fault")
            reason = str(error) if isinstance(error, UnitFault) else "".join(traceback.format_exception(error))
            return self._unit_fault(task, reason, lease)

    def _done(self, task: UnitTask) -> Outcome:
        try:
            self._board.succeeded(task.job, task.stage)
        except RedisError as error:
            _log.warning("success_not_shown", error=str(error))
        return Outcome.DONE

    def _refusal(self, task: UnitTask) -> Outcome | None:
        """Why the message needs no work, if so."""
        if self._draining.requested:
            return Outcome.HANDED_BACK
        if self._interrupt(task) is not None:
            return Outcome.HANDED_BACK
        self._claimed(task)
        if self._store.head(layout.active(task.job)) is None:
            return Outcome.DROPPED
        if self._store.head(layout.commit(task.job, task.unit)) is not None:
            return Outcome.DROPPED
        return None

    def _interrupt(self, task: UnitTask) -> Interrupt | None:
        try:
            flags = self._flags.get(task.job)
        except (RedisError, StoreUnavailable) as error:
            # Neither takes the unit away: go on, and learn of a pause or cancel later.
            _log.warning("flags_unknown", error=str(error))
            return None
        if flags.deleted:
            return Interrupt.DELETED
        if flags.cancelled:
            return Interrupt.CANCELLED
        return Interrupt.PAUSED if flags.paused else None

    def _remaining(self) -> float:
        return self._draining.remaining

    def _environment(self, task: UnitTask, error: Exception) -> Outcome:
        reason = str(error) or type(error).__name__
        _log.warning("environment_fault", reason=reason)
        try:
            self._board.environment_fault(task.job, task.stage, reason)
        except RedisError as lost:
            _log.warning("stall_not_shown", error=str(lost))
        return Outcome.ENVIRONMENT

    def _left_alone(self, message: Mapping[str, Any], why: str) -> None:
        """Take no lease and count nothing; the job says why, and is sent ever more seldom."""
        _log.warning("message_left_alone", why=why, next_step="upgrade this worker")
        try:
            job, unit, stage = check_ulid(message["job"]), check_unit(message["unit"]), Stage(message["stage"])
        except (LookupError, TypeError, ValueError):
            return  # not even that can be told
        try:
            self._board.environment_fault(job, stage, _unread(stage, why))
            self._board.flight.unsend(job, unit)  # not before: else the feeder would send it at once
        except RedisError as error:
            _log.warning("stall_not_shown", error=str(error))

    def _unit_fault(self, task: UnitTask, reason: str, lease: Lease) -> Outcome:
        if lease.lost:
            return Outcome.LOST
        try:
            count = self._board.count_fault(task.job, task.unit, "unit")
            if count < self._max_unit_faults:
                return Outcome.FAULT
            bury(self._store, task.job, task.unit, stage=task.stage, fault="unit", reason=reason, count=count)
            self._board.mark_dead(task.job, task.unit)
        except _ENVIRONMENT as error:
            return self._environment(task, error)
        return Outcome.DEAD


def _unread(stage: Stage, what: str) -> str:
    return f"a {stage.value} worker does not read this: {what}; upgrade the {stage.value} workers"
