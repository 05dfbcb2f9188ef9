"""One thread that takes queued runs in turn and keeps each going until it has ended, whatever dies under it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from pydantic import JsonValue

from synfarm.contracts.base import utc_now
from synfarm.contracts.events import EventType
from synfarm.contracts.runs import RunAttempt, RunEnded, RunSpec, RunState
from synfarm.storage.protocol import StoreUnavailable
from synfarm.telemetry import get_logger
from synfarm_trainer.api.journal import JournalTail
from synfarm_trainer.api.live import LiveRun, Snapshot
from synfarm_trainer.api.records import RunRecords
from synfarm_trainer.api.stream import EventHub
from synfarm_trainer.launch.files import RunFiles
from synfarm_trainer.launch.outcome import Outcome, last_lines, read_outcome
from synfarm_trainer.launch.protocol import Child, Launcher

__all__ = ["Runner", "RunnerLimits"]

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


class _Closing(Exception):
    """The service leaves: the run stays unfinished and is taken up by the next start of the service."""


class Runner:
    """Start, follow, restart and end runs, one at a time, oldest first."""

    def __init__(
        self, records: RunRecords, launcher: Launcher, hub: EventHub, files: RunFiles, limits: RunnerLimits
    ) -> None:
        self._records, self._launcher, self._hub, self._files, self._limits = records, launcher, hub, files, limits
        self._lock = threading.Lock()
        self._queue: deque[str] = deque()
        self._live: dict[str, LiveRun] = {}
        self._stopping: set[str] = set()
        self._closing = threading.Event()
        self._wake = threading.Event()
        self._beat = time.monotonic()
        self._scanned = threading.Event()
        self.restarts = 0
        self._thread = threading.Thread(target=self._main, name="runner", daemon=True)

    def start(self) -> None:
        """Take up unfinished runs of earlier starts of the service, then whatever is submitted."""
        self._thread.start()

    def close(self) -> None:
        """End the running child in good order; its run stays unfinished."""
        self._closing.set()
        self._wake.set()
        self._thread.join(self._limits.shutdown_grace + 15)

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def is_ready(self) -> bool:
        """Unfinished runs of earlier starts are known."""
        return self._scanned.is_set()

    @property
    def age(self) -> float:
        """Seconds since the thread last showed life."""
        return time.monotonic() - self._beat

    def live(self, run: str) -> LiveRun | None:
        """The run as this process follows it; None for runs that ended and runs not submitted here."""
        with self._lock:
            return self._live.get(run)

    def snapshots(self) -> list[Snapshot]:
        """Every run that this process knows and that has not ended."""
        with self._lock:
            return [live.now for live in self._live.values()]

    def submit(self, run: str) -> None:
        """Queue a run; one that is known already stays where it is."""
        with self._lock:
            if run in self._live:
                return
            self._live[run] = LiveRun()
            self._queue.append(run)
            self._wake.set()

    def request_stop(self, run: str) -> bool:
        """Act on a ``stop.json`` that has been written. True if the run was still queued: the caller ends it."""
        with self._lock:
            if run in self._queue:
                self._queue.remove(run)
                del self._live[run]
                return True
            if run in self._live:
                self._live[run].change(state=RunState.STOPPING)
                self._stopping.add(run)
            self._wake.set()
            return False

    # -- the thread ---------------------------------------------------------------------------------------------

    def _main(self) -> None:
        try:
            for run in self._patiently(self._unfinished):
                self.submit(run)
            self._scanned.set()
            while True:
                run = self._next()
                try:
                    self._keep(run)
                except _Closing:
                    raise
                except Exception as error:  # noqa: BLE001 - costs this run, not those that wait behind it
                    _log.exception("run_failed", run=run)
                    self._end(run, RunState.FAILED, f"the service failed on this run: {error!r}")
        except _Closing:
            _log.info("runner_closed")
        except Exception:  # noqa: BLE001 - told by /healthz, so that the supervisor starts the service again
            _log.exception("runner_died")

    def _unfinished(self) -> list[str]:
        def is_open(run: str) -> bool:
            return self._records.ended(run) is None and self._records.spec(run) is not None

        runs = self._records.ids()
        with ThreadPoolExecutor(8) as pool:
            return [run for run, wanted in zip(runs, pool.map(is_open, runs), strict=True) if wanted]

    def _next(self) -> str:
        while True:
            self._breathe(0)
            with self._lock:
                if self._queue:
                    return self._queue.popleft()
                self._wake.clear()
            self._wake.wait(1.0)

    def _breathe(self, seconds: float) -> None:
        """Sleep, unless the service leaves.

        Raises:
            _Closing: it does.
        """
        self._beat = time.monotonic()
        if self._closing.wait(seconds):
            raise _Closing

    def _patiently(self, call: Callable[[], T]) -> T:
        """An absent store is waited for: it never counts against a run."""
        pause = 0.5
        while True:
            try:
                return call()
            except StoreUnavailable as error:
                _log.warning("store_unavailable", error=str(error)[:300])
                self._breathe(pause)
                pause = min(pause * 2, 15.0)

    def _keep(self, run: str) -> None:
        live = self._live[run]
        spec = self._patiently(lambda: self._records.spec(run))
        if spec is None:
            raise RuntimeError(f"run {run} has no run.json")
        barren = 0
        while True:
            if self._patiently(lambda: self._records.is_stopped(run)):
                self._end(run, RunState.STOPPED, None)
                return
            outcome, attempt = self._attempt(spec, live)
            if outcome.ending == "completed":
                self._end(run, RunState.COMPLETED, None)
                return
            if outcome.ending == "failed":
                self._end(run, RunState.FAILED, outcome.reason)
                return
            if self._patiently(lambda: self._records.is_stopped(run)):
                self._end(run, RunState.STOPPED, None)
                return
            self._breathe(0)
            if self._patiently(lambda: self._records.attempts(run))[-1] > attempt.number:
                self._forget(run)
                _log.warning("run_taken_over", run=run, attempt=attempt.number)
                return
            newest = self._patiently(lambda: self._records.checkpoint_step(run)) or 0
            barren = 0 if newest > attempt.resumed_step else barren + 1
            self.restarts += 1
            _log.warning("run_restarts", run=run, attempt=attempt.number, reason=outcome.reason, barren=barren)
            if barren > self._limits.barren_restarts:
                tail = last_lines(self._files.log(run, attempt.number))
                words = f"gave up after {barren} starts without a newer checkpoint; {outcome.reason}"
                self._end(run, RunState.FAILED, f"{words}. Last lines of its log:\n{tail}" if tail else words)
                return
            if barren:
                self._breathe(min(self._limits.backoff * 2 ** (barren - 1), self._limits.backoff_limit))

    def _attempt(self, spec: RunSpec, live: LiveRun) -> tuple[Outcome, RunAttempt]:
        ended = self._launcher.clear(spec.run)
        if ended:
            _log.warning("leftovers_ended", run=spec.run, processes=ended)
        attempt = self._patiently(lambda: self._records.open_attempt(spec.run))
        evals = self._patiently(lambda: self._records.evals(spec.run))
        stopping = spec.run in self._stopping
        live.begin(attempt.number, attempt.resumed_step, evals)
        if stopping:
            live.change(state=RunState.STOPPING)
        self._tell(spec.run, live)
        _log.info("attempt_starts", run=spec.run, attempt=attempt.number, resumed_step=attempt.resumed_step)
        try:
            child = self._launcher.start(spec.run, attempt.number, spec.ranks)
        except OSError as error:
            return Outcome("crashed", f"the training processes could not be started: {error}"), attempt
        try:
            status = self._follow(spec.run, live, child, JournalTail(self._files.journal(spec.run, attempt.number)))
        finally:
            child.kill()
        return read_outcome(self._files.exit_record(spec.run, attempt.number), status), attempt

    def _follow(self, run: str, live: LiveRun, child: Child, tail: JournalTail) -> int:
        """Fold the journal until the child has ended; its exit status."""
        killed_at: float | None = None
        told = 0.0
        step = live.now.step
        while True:
            status = child.poll()
            lines = tail.read()
            for line in lines:
                live.fold(line)
                if line.type in {"checkpoint", "eval"}:
                    self._hub.log(run).publish(EventType(line.type), line.data)
            now = live.now
            if now.step != step and (status is not None or time.monotonic() - told >= self._limits.step_events):
                if told == 0.0:
                    self._tell(run, live)
                self._hub.log(run).publish(EventType.STEP, _step_data(now.step, live))
                told, step = time.monotonic(), now.step
            if status is not None:
                return status
            if killed_at is None and (run in self._stopping or self._closing.is_set()):
                grace = self._limits.shutdown_grace if self._closing.is_set() else self._limits.grace
                killed_at = time.monotonic() + grace
                child.terminate()
            if killed_at is not None and time.monotonic() > killed_at:
                child.kill()
            self._beat = time.monotonic()
            self._wake.wait(self._limits.poll) if killed_at is None else time.sleep(self._limits.poll)
            self._wake.clear()

    def _tell(self, run: str, live: LiveRun) -> None:
        now = live.now
        data: dict[str, JsonValue] = {
            "state": now.state.value,
            "attempt": now.attempt,
            "resumed_step": now.resumed_step,
            "step": now.step,
        }
        self._hub.log(run).publish(EventType.STATE, data)

    def _end(self, run: str, state: RunState, reason: str | None) -> None:
        if self._closing.is_set() and state is not RunState.COMPLETED:
            raise _Closing
        with self._lock:
            live = self._live[run]
        step = max(live.now.step, self._patiently(lambda: self._records.checkpoint_step(run)) or 0)
        evals = self._patiently(lambda: self._records.evals(run)) or live.now.evals
        record = RunEnded(run=run, state=state, reason=reason, step=step, evals=evals, ended_at=utc_now())
        record = self._patiently(lambda: self._records.end(record))
        _log.info("run_ended", run=run, state=record.state.value, step=record.step, reason=record.reason)
        self._forget(run)
        self.tell_ended(record)

    def tell_ended(self, record: RunEnded) -> None:
        """The last event of the run's stream."""
        data: dict[str, JsonValue] = {"state": record.state.value, "reason": record.reason, "step": record.step}
        self._hub.log(record.run).publish(EventType.STATE, data, last=True)

    def _forget(self, run: str) -> None:
        with self._lock:
            self._live.pop(run, None)
            self._stopping.discard(run)


def _step_data(step: int, live: LiveRun) -> dict[str, JsonValue]:
    now = live.now
    return {
        "step": step,
        "epoch": now.epoch,
        "losses": dict(now.losses),
        "images_per_second": now.images_per_second,
        "tflops_per_second": now.tflops_per_second,
        "mfu": now.mfu,
        "mfu_achievable": now.mfu_achievable,
        "seconds_per_step": now.seconds_per_step,
        "data_wait_share": now.data_wait_share,
        "refilled": now.refilled,
    }
