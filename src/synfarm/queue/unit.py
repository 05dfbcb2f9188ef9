"""The harness of one unit: claim, look whether it is still wanted, work, classify what went wrong, let go."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from enum import StrEnum

from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from synfarm.contracts import layout
from synfarm.contracts.jobs import JobSpec
from synfarm.contracts.renders import UnitTask
from synfarm.faults import Faults
from synfarm.queue.board import Board
from synfarm.queue.dead_letter import bury
from synfarm.queue.draining import Draining
from synfarm.queue.flags import FlagBook
from synfarm.queue.lease import Interrupt, Lease, LeaseBook, UnitInterrupted
from synfarm.queue.presence import Presence
from synfarm.queue.specs import SpecCache
from synfarm.storage.protocol import ObjectStore, StoreRefused, StoreUnavailable
from synfarm.telemetry import get_logger

__all__ = ["EnvironmentFault", "Outcome", "UnitFault", "UnitRunner", "Work"]

_log = get_logger(__name__)

Work = Callable[[JobSpec, UnitTask, Lease], None]
"""Does one stage of one unit, commit included; returns when it is done, by this worker or by another."""


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
        max_unit_faults: int = 3,
    ) -> None:
        self._store, self._board, self._flags, self._leases = store, board, flags, leases
        self._faults, self._draining, self._presence = faults, draining, presence
        self._max_unit_faults = max_unit_faults
        self._specs = SpecCache(store)

    def run(self, task: UnitTask, work: Work) -> Outcome:
        """Handle one message. Reaches the fault hook ``<stage>.after_claim``."""
        log = _log.bind(job=task.job, unit=task.unit, stage=task.stage.value)
        try:
            lease = self._leases.claim(task, watch=lambda: self._interrupt(task), remaining=self._remaining)
        except RedisError as error:
            log.warning("claim_failed", error=str(error))
            return Outcome.ENVIRONMENT
        if lease is None:
            return Outcome.DROPPED
        name = f"{task.job}/{task.unit}"
        if self._presence is not None:
            self._presence.enter(name, lease)
        outcome = Outcome.HANDED_BACK  # what it is if the process is told to end in the middle
        try:
            outcome = self._attempt(task, work, lease)
        finally:
            if self._presence is not None:
                self._presence.leave(name)
            try:
                self._leases.release(lease, forget=outcome in _FORGET)
            except RedisError as error:
                log.warning("lease_left_to_expire", error=str(error))
        log.info("unit_left", outcome=outcome.value, attempt=lease.attempt)
        return outcome

    def _attempt(self, task: UnitTask, work: Work, lease: Lease) -> Outcome:
        try:
            dropped = self._refusal(task)
            if dropped is not None:
                return dropped
            self._faults.reach(f"{task.stage.value}.after_claim", task.unit)
            work(self._specs.get(task.job, unit=task.unit), task, lease)
            return self._done(task)
        except UnitInterrupted as stop:
            return Outcome.LOST if stop.interrupt is Interrupt.LOST else Outcome.HANDED_BACK
        except _ENVIRONMENT as error:
            return self._environment(task, error)
        except Exception as error:  # noqa: BLE001 - the border of work: whatever is left is the unit's fault
            _log.exception("unit_fault", job=task.job, unit=task.unit, stage=task.stage.value)
            reason = str(error) if isinstance(error, UnitFault) else "".join(traceback.format_exception(error))
            return self._unit_fault(task, reason, lease)

    def _done(self, task: UnitTask) -> Outcome:
        try:
            self._board.succeeded(task.job, task.stage)
        except RedisError as error:
            _log.warning("success_not_shown", job=task.job, error=str(error))
        return Outcome.DONE

    def _refusal(self, task: UnitTask) -> Outcome | None:
        """Why the message needs no work, if so."""
        if self._draining.requested:
            return Outcome.HANDED_BACK
        if self._interrupt(task) is not None:
            return Outcome.HANDED_BACK
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
            _log.warning("flags_unknown", job=task.job, error=str(error))
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
        _log.warning("environment_fault", job=task.job, unit=task.unit, stage=task.stage.value, reason=reason)
        try:
            self._board.environment_fault(task.job, task.stage, reason)
        except RedisError as lost:
            _log.warning("stall_not_shown", job=task.job, error=str(lost))
        return Outcome.ENVIRONMENT

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
