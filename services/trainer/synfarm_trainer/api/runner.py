"""Threads that take queued runs in turn, one for each set of devices."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from synfarm.contracts.runs import RunEnded, RunSpec, RunState
from synfarm.storage.protocol import StoreUnavailable
from synfarm.telemetry import get_logger
from synfarm_trainer.api.following import tell_ended
from synfarm_trainer.api.held_devices import HeldDevices
from synfarm_trainer.api.keeping import Closing, Keeper, Keeping, Life, RunnerLimits
from synfarm_trainer.api.live import LiveRun, Snapshot
from synfarm_trainer.api.placement import Placement
from synfarm_trainer.api.queue import RunQueue, Waiting
from synfarm_trainer.api.records import RecordMalformed
from synfarm_trainer.launch.devices import DeviceSet
from synfarm_trainer.launch.leases import Lease, Leases
from synfarm_trainer.launch.protocol import LauncherAway

__all__ = ["Runner", "RunnerLimits"]

_log = get_logger(__name__)
_LOOK_SECONDS = 1.0
"""Between two looks for runs in doubt."""


class Runner:
    """As many runs at a time as there are sets of devices; the others wait in a queue."""

    def __init__(self, tools: Keeping, placement: Placement, leases: Leases) -> None:
        self._tools, self._placement, self._leases = tools, placement, leases
        self._lock = threading.Lock()
        self._queue = RunQueue()
        self._live: dict[str, LiveRun] = {}
        self._busy: dict[str, str] = {}
        """Owners of the runs that have devices."""
        self._doubtful: set[str] = set()
        self._look_at = 0.0
        self._closing = threading.Event()
        self._wake = threading.Condition(self._lock)
        self._scanned = threading.Event()
        self.restarts = 0
        self.held = HeldDevices()
        self._lives = [Life(self._closing) for _ in placement.sets]
        self._threads = [
            threading.Thread(target=self._main, args=(devices, life), name=f"runner-{number}", daemon=True)
            for number, (devices, life) in enumerate(zip(placement.sets, self._lives, strict=True))
        ]

    def start(self) -> None:
        """Take up unfinished runs of earlier starts of the service, then whatever is submitted."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """End or leave the running children in good order; their runs stay unfinished."""
        self._closing.set()
        with self._wake:
            self._wake.notify_all()
        deadline = time.monotonic() + self._tools.limits.shutdown_grace + 15
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    @property
    def is_alive(self) -> bool:
        return all(thread.is_alive() for thread in self._threads)

    @property
    def is_ready(self) -> bool:
        """Unfinished runs of earlier starts are known."""
        return self._scanned.is_set()

    @property
    def age(self) -> float:
        """Seconds since the thread that is longest silent last showed life."""
        return time.monotonic() - min(life.seen for life in self._lives)

    def live(self, run: str) -> LiveRun | None:
        """The run as this process follows it; None for runs that ended and runs not submitted here."""
        with self._lock:
            return self._live.get(run)

    def queue_position(self, run: str) -> int | None:
        """1 for the run whose turn is next; None for runs that do not wait."""
        with self._lock:
            places = [waiting.run for waiting in self._queue.order(self._busy.values())]
        return places.index(run) + 1 if run in places else None

    def follows(self, run: str, attempt: int) -> bool:
        """Whether this start of the run goes on here, with its journal: not one of ranks elsewhere."""
        live = None if self._tools.launcher.outlives_service else self.live(run)
        return live is not None and live.now.attempt == attempt

    def snapshots(self) -> dict[str, Snapshot]:
        """Every run that this process knows and that has not ended, by id."""
        with self._lock:
            return {run: live.now for run, live in self._live.items()}

    def submit(self, spec: RunSpec) -> None:
        """Queue a run; one that is known already stays where it is."""
        sets = self._placement.of(spec)
        with self._wake:
            if spec.run in self._live:
                return
            live = self._live[spec.run] = LiveRun()
            if not sets:
                live.change(reason=f"waits: {self._placement.refusal(spec)}")
            self._tools.hub.log(spec.run).reopen()
            self._queue.add(Waiting(spec.run, spec.owner, sets))
            self._wake.notify_all()

    def look_after(self, run: str) -> None:
        """Take up a run of which the store did not say whether it is there, once it does."""
        with self._lock:
            self._doubtful.add(run)

    def request_stop(self, run: str) -> bool:
        """Act on a ``stop.json`` that has been written. True if the run was still queued: the caller ends it."""
        gone = self._is_gone(run)
        with self._lock:
            if run in self._queue and gone:
                self._queue.remove(run)
                del self._live[run]
                return True
            if run in self._live:
                self._live[run].ask_to_stop()
            return False

    def _is_gone(self, run: str) -> bool:
        """Whether nothing of a run that is queued is left of an earlier service; what is left is asked to end."""
        launcher = self._tools.launcher
        with self._lock:
            if run not in self._queue or not launcher.outlives_service:
                return True
        try:
            launcher.clear(run)
        except LauncherAway:
            return False
        return True

    def tell_ended(self, record: RunEnded) -> None:
        """The last event of the run's stream, unless it was resumed meanwhile."""
        with self._lock:
            if record.run not in self._live:
                tell_ended(self._tools.hub, record)

    # -- the threads --------------------------------------------------------------------------------------------

    def _main(self, devices: DeviceSet, life: Life) -> None:
        try:
            self._take_up(life)
            while True:
                run, lease = self._next(devices, life)
                try:
                    self._keep(run, devices, life)
                finally:
                    lease.release()
                    with self._wake:
                        self._busy.pop(run, None)
                        self._wake.notify_all()
        except Closing:
            _log.info("runner_closed", devices=devices.name)
        except Exception:  # noqa: BLE001 - told by /healthz, so that the supervisor starts the service again
            _log.exception("runner_died", devices=devices.name)
        finally:
            self._leases.leave(devices)

    def _take_up(self, life: Life) -> None:
        """The first thread finds what earlier starts left unfinished; the others wait, for these runs come first."""
        if life is not self._lives[0]:
            while not self._scanned.is_set():
                life.breathe(0.1)
            return
        for spec in life.patiently(self._unfinished):
            self.submit(spec)
        self._scanned.set()

    def _unfinished(self) -> list[RunSpec]:
        with ThreadPoolExecutor(8) as pool:
            return [spec for spec in pool.map(self._open_spec, self._tools.records.ids()) if spec is not None]

    def _open_spec(self, run: str) -> RunSpec | None:
        """Of a run that has not ended and can be read."""
        records = self._tools.records
        try:
            return records.spec(run) if records.ended(run) is None else None
        except RecordMalformed as error:
            _log.warning("run_not_taken_up", run=run, error=str(error))
            return None

    def _take_up_doubtful(self) -> None:
        """Those that :meth:`look_after` told of. Nobody else knows of them: their requests ended with an error."""
        with self._lock:
            if not self._doubtful or time.monotonic() < self._look_at:
                return
            self._look_at, doubtful = time.monotonic() + _LOOK_SECONDS, sorted(self._doubtful)
        for run in doubtful:
            try:
                spec = self._open_spec(run)
            except StoreUnavailable:
                return
            with self._lock:
                self._doubtful.discard(run)
            if spec is not None:
                self.submit(spec)

    def _next(self, devices: DeviceSet, life: Life) -> tuple[str, Lease]:
        """Wait for a run whose turn it is on these devices, and for the devices."""
        while True:
            life.breathe(0)
            self._take_up_doubtful()
            with self._wake:
                if self._queue.next_for(devices, self._busy.values()) is None:
                    self._leases.leave(devices)
                    self._wake.wait(1.0)
                    continue
            if (lease := self._leases.take(devices)) is None:
                self._tell_waiting(devices)
                life.breathe(1.0)
                continue
            with self._lock:
                if (run := self._queue.next_for(devices, self._busy.values())) is not None:
                    self._busy[run] = self._queue.remove(run).owner
                    self._live[run].change(devices=devices.name, reason=None)
                    return run, lease
            lease.release()

    def _tell_waiting(self, devices: DeviceSet) -> None:
        """Another service of this machine trains on one of them, or waits for all."""
        reason = f"waits: another trainer of this machine has GPUs of set {devices.name}, or comes before"
        with self._lock:
            run = self._queue.next_for(devices, self._busy.values())
            if run is not None and self._live[run].now.reason != reason:
                self._live[run].change(reason=reason)

    def _keep(self, run: str, devices: DeviceSet, life: Life) -> None:
        with self._lock:
            live = self._live[run]
        try:
            spec = life.patiently(lambda: self._tools.records.spec(run))
        except RecordMalformed:
            spec = None
        if spec is None:
            _log.error("run_record_lost", run=run)
            with self._lock:
                del self._live[run]
            return
        keeper = Keeper(spec, live, devices, self._tools, life)
        try:
            with self.held.by(spec, devices):
                ended = keeper.keep(self._count_restart)
        except Closing:
            raise
        except Exception as error:  # noqa: BLE001 - costs this run, not those that wait behind it
            _log.exception("run_failed", run=run)
            ended = keeper.end(RunState.FAILED, f"the service failed on this run: {error!r}")
        with self._lock:
            self._live.pop(run, None)
        if ended is not None:
            self.tell_ended(ended)
            if not life.patiently(lambda: self._has_ended(run)):
                # Resumed between the record of its end and this, when it was still known here.
                self.submit(spec)

    def _has_ended(self, run: str) -> bool:
        try:
            return self._tools.records.ended(run) is not None
        except RecordMalformed:
            return True  # told in the log; whoever waits behind it has nothing to do with it

    def _count_restart(self) -> None:
        with self._lock:
            self.restarts += 1
