"""One run kept going until it has ended, whatever dies under it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from synfarm.contracts.base import utc_now
from synfarm.contracts.runs import RunAttempt, RunEnded, RunSpec, RunState
from synfarm.storage.protocol import StoreUnavailable
from synfarm.telemetry import get_logger
from synfarm_trainer.api.following import Narrator, OpenTail
from synfarm_trainer.api.live import LiveRun
from synfarm_trainer.api.looking import Looking
from synfarm_trainer.api.records import RunRecords
from synfarm_trainer.api.stream import EventHub
from synfarm_trainer.launch.devices import DeviceSet
from synfarm_trainer.launch.outcome import Outcome
from synfarm_trainer.launch.protocol import Child, Launcher, LauncherAway

__all__ = ["Closing", "Keeper", "Keeping", "Life", "RunnerLimits"]

_log = get_logger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RunnerLimits:
    """Times are seconds."""

    barren_restarts: int = 3
    """Restarts in a row without a newer committed checkpoint that are borne."""
    backoff: float = 1.0
    """Pause before a barren restart; doubles each time."""
    backoff_limit: float = 60.0
    grace: float = 20.0
    """From SIGTERM to SIGKILL when a run is stopped."""
    shutdown_grace: float = 8.0
    """The same when the service itself leaves."""
    poll: float = 0.2
    step_events: float = 0.5
    """Least distance of two ``step`` events."""
    look: float = 3.0
    """Between two looks at what was asked of the run in the store, perhaps through another service."""


class Closing(Exception):
    """The service leaves: the run stays unfinished and is taken up by the next start of the service."""


class Life:
    """Whether the service leaves, and when a thread of it last showed life."""

    def __init__(self, closing: threading.Event) -> None:
        self.closing = closing
        self.seen = time.monotonic()

    def breathe(self, seconds: float) -> None:
        """Sleep, unless the service leaves.

        Raises:
            Closing: it does.
        """
        self.seen = time.monotonic()
        if self.closing.wait(seconds):
            raise Closing

    def patiently(self, call: Callable[[], T], live: LiveRun | None = None) -> T:
        """The result of ``call``; an absent store or cluster is waited for, and never counts against a run."""
        pause, told = 0.5, False
        while True:
            try:
                result = call()
            except (StoreUnavailable, LauncherAway) as error:
                _log.warning("waits", error=str(error)[:300])
                if live is not None and isinstance(error, LauncherAway):
                    live.change(reason=f"waits: {error}")
                    told = True
                self.breathe(pause)
                pause = min(pause * 2, 15.0)
            else:
                if live is not None and told:
                    live.change(reason=None)
                return result


@dataclass(frozen=True, slots=True)
class Keeping:
    """What every run is kept with."""

    records: RunRecords
    launcher: Launcher
    hub: EventHub
    open_tail: OpenTail
    limits: RunnerLimits


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a look in the store found."""

    stop: bool = False
    remix: bool = False
    """The start is to end for a newer change of weights."""


class Keeper:
    """Starts, follows, restarts and ends one run on one set of devices, in one thread."""

    def __init__(self, spec: RunSpec, live: LiveRun, devices: DeviceSet, tools: Keeping, life: Life) -> None:
        self._spec, self._run, self._live, self._devices = spec, spec.run, live, devices
        self._records, self._launcher, self._limits = tools.records, tools.launcher, tools.limits
        self._open_tail, self._life = tools.open_tail, life
        self._mixed = -1
        """The newest change of weights that the start has taken in."""
        self._remixes = False
        """The start was asked to end for a newer one."""
        self._narrator = Narrator(spec.run, live, tools.hub, tools.limits.step_events)

    def keep(self, on_restart: Callable[[], None]) -> RunEnded | None:
        """How the run ended; None if another service has taken it over.

        Raises:
            Closing: the service leaves.
        """
        life, records, run = self._life, self._records, self._run
        barren = 0
        if (ended := life.patiently(lambda: records.ended(run))) is not None:
            # A request that had not seen its end has queued it again.
            return ended
        while True:
            if life.patiently(lambda: records.is_stopped(run)):
                # A start of an earlier service may still be there, or one that was made and its answer lost.
                life.patiently(lambda: self._launcher.clear(run), self._live)
                return self.end(RunState.STOPPED, None)
            outcome, attempt, tail = self._attempt()
            if outcome.ending == "completed":
                return self.end(RunState.COMPLETED, None)
            if outcome.ending == "failed":
                return self.end(RunState.FAILED, outcome.reason)
            if life.patiently(lambda: records.is_stopped(run)):
                continue
            life.breathe(0)
            if self._is_taken_over(attempt):
                _log.warning("run_taken_over", run=run, attempt=attempt.number)
                return None
            if self._remixes:
                # Also of one that was killed, as its last checkpoint took longer than the grace: it was asked to end.
                saved = outcome.ending == "stopped"
                _log.info(
                    "run_restarts", run=run, attempt=attempt.number, reason="its weights were changed", saved=saved
                )
                continue
            newest = life.patiently(lambda: records.checkpoint_step(run)) or 0
            barren = 0 if newest > attempt.resumed_step else barren + 1
            on_restart()
            _log.warning("run_restarts", run=run, attempt=attempt.number, reason=outcome.reason, barren=barren)
            if barren > self._limits.barren_restarts:
                words = f"gave up after {barren} starts without a newer checkpoint; {outcome.reason}"
                return self.end(RunState.FAILED, f"{words}. Last lines of its log:\n{tail}" if tail else words)
            if barren:
                life.breathe(min(self._limits.backoff * 2 ** (barren - 1), self._limits.backoff_limit))

    def end(self, state: RunState, reason: str | None) -> RunEnded:
        """Write how the run ended; the record that stands.

        Raises:
            Closing: the service leaves, which may be the only reason for this end.
        """
        if self._life.closing.is_set() and state is not RunState.COMPLETED:
            raise Closing
        patiently, records, now = self._life.patiently, self._records, self._live.now
        step = max(now.step, patiently(lambda: records.checkpoint_step(self._run)) or 0)
        evals = patiently(lambda: records.evals(self._run)) or now.evals
        record = RunEnded(run=self._run, state=state, reason=reason, step=step, evals=evals, ended_at=utc_now())
        record = patiently(lambda: records.end(record))
        _log.info("run_ended", run=self._run, state=record.state.value, step=record.step, reason=record.reason)
        return record

    def _is_taken_over(self, attempt: RunAttempt) -> bool:
        if self._launcher.outlives_service:
            # Ranks open attempts of their own; there is one start of a run by its name.
            return False
        return self._life.patiently(lambda: self._records.attempts(self._run))[-1] > attempt.number

    def _attempt(self) -> tuple[Outcome, RunAttempt, str]:
        """One start: how it ended, and the last lines of what it wrote."""
        run, live, patiently = self._run, self._live, self._life.patiently
        child = patiently(lambda: self._launcher.adopt(run), live)
        attempt: RunAttempt | None = None
        if child is not None:
            number = child.attempt
            attempt = patiently(lambda: self._records.attempt(run, number))
            _log.info("attempt_adopted", run=run, attempt=number)
        if child is None or attempt is None:
            if ended := patiently(lambda: self._launcher.clear(run), live):
                _log.warning("leftovers_ended", run=run, processes=ended)
            attempt, child = patiently(lambda: self._records.open_attempt(run)), None
        number, resumed = attempt.number, attempt.resumed_step
        evals = patiently(lambda: self._records.evals(run))
        self._mixed, self._remixes = patiently(lambda: self._taken_in(adopted=child is not None)), False
        newest = patiently(lambda: self._records.last_checkpoint(run))
        live.begin(number, resumed, evals, newest.facts if newest is not None else None)
        self._narrator.begin()
        self._narrator.tell()
        if child is None:
            _log.info("attempt_starts", run=run, attempt=number, resumed_step=resumed, devices=self._devices.name)
            try:
                child = patiently(lambda: self._start(number), live)
            except OSError as error:
                return Outcome("crashed", f"the training processes could not be started: {error}"), attempt, ""
        started, kept = child, False
        try:
            outcome = self._follow(started, number)
            return outcome, attempt, started.last_lines()
        except Closing:
            kept = self._launcher.outlives_service
            raise
        finally:
            if not kept:
                patiently(started.kill)

    def _start(self, attempt: int) -> Child:
        try:
            return self._launcher.start(self._run, attempt, self._spec.ranks, self._devices)
        except LauncherAway as error:
            if self._live.stop_asked.is_set():
                # A start that may be refused for ever, as for a missing right, is not waited for any longer.
                raise OSError(f"{error}") from error
            raise

    def _taken_in(self, *, adopted: bool) -> int:
        """The newest change of weights that a start has taken in: one that begins now takes in all there are."""
        if not self._spec.weights:
            return -1
        if not adopted:
            return max(self._records.mix_changes(self._run), default=-1)
        return max((s.change for s in self._records.segments(self._run) if s.change is not None), default=-1)

    def _look(self) -> _Asked:
        """What was asked of the run, perhaps through another service."""
        records = self._records
        try:
            if records.is_stopped(self._run):
                return _Asked(stop=True)
            newest = max(records.mix_changes(self._run), default=-1) if self._spec.weights else -1
            return _Asked(remix=newest > self._mixed)
        except StoreUnavailable:
            return _Asked()  # asked again at the next look

    def _follow(self, child: Child, attempt: int) -> Outcome:
        """Fold the news until the start has ended."""
        tail, limits, closing = self._open_tail(self._run, attempt), self._limits, self._life.closing
        kill_at: float | None = None
        looking = Looking(self._look, limits.look)
        while True:
            outcome = child.poll()
            self._narrator.fold(tail, last=outcome is not None)
            if child.standing != self._live.now.reason:
                self._live.change(reason=child.standing)
            if outcome is not None:
                return outcome
            if kill_at is None and (asked := looking.answer()) is not None:
                self._remixes = asked.remix and not self._live.stop_asked.is_set()
                if asked.stop:
                    self._live.ask_to_stop()
            stopping = self._live.stop_asked.is_set()
            if closing.is_set() and self._launcher.outlives_service:
                raise Closing
            if kill_at is None and (stopping or self._remixes or closing.is_set()):
                kill_at = time.monotonic() + (limits.shutdown_grace if closing.is_set() else limits.grace)
                child.terminate()
            if kill_at is not None and time.monotonic() > kill_at:
                self._life.patiently(child.kill)
            self._life.seen = time.monotonic()
            # Woken by a request to stop; the service that leaves is seen within one pause.
            time.sleep(limits.poll) if stopping else self._live.stop_asked.wait(limits.poll)
