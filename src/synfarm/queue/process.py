"""One worker process on the queue: what every worker has, wired, started and stopped in one place."""

from __future__ import annotations

import importlib.metadata
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal

from prometheus_client import CollectorRegistry
from pydantic import ValidationError
from redis.exceptions import RedisError
from ulid import ULID

from synfarm.contracts.base import utc_now
from synfarm.contracts.jobs import JobSpec
from synfarm.contracts.renders import UnitTask
from synfarm.contracts.versions import read_versions
from synfarm.contracts.workers import WorkerInfo
from synfarm.faults import Faults
from synfarm.outages import Outages
from synfarm.queue.app import connect, make_app
from synfarm.queue.board import Board
from synfarm.queue.clock import RedisClock
from synfarm.queue.draining import Draining
from synfarm.queue.finishing import FinishingRoom
from synfarm.queue.flags import FlagBook
from synfarm.queue.health import HealthServer, dependencies_away
from synfarm.queue.keys import Keys
from synfarm.queue.lease import LeaseBook, LeaseSettings
from synfarm.queue.order import QueueOrder
from synfarm.queue.patience import Patience
from synfarm.queue.presence import Presence
from synfarm.queue.specs import SpecCache
from synfarm.queue.unit import Outcome, UnitRunner, Work
from synfarm.queue.waiting import WaitingUnits
from synfarm.queue.watchdog import Watchdog
from synfarm.queue.worker import give_up, run_worker
from synfarm.queue.worker_metrics import WorkerCollector
from synfarm.settings import RedisSettings
from synfarm.storage.protocol import ObjectStore
from synfarm.telemetry import get_logger
from synfarm.tracing import Tracing, UnitSpan

__all__ = ["WorkerProcess", "worker_info"]

_log = get_logger(__name__)


def worker_info(
    kind: Literal["caption", "render"], *, capabilities: tuple[str, ...] = (), slots: int = 1, model: str | None = None
) -> WorkerInfo:
    """What this process tells of itself, under an id that no other process ever had."""
    host = socket.gethostname()
    return WorkerInfo(
        id=f"{kind}-{host}-{str(ULID()).lower()}",
        kind=kind,
        capabilities=capabilities,
        version=importlib.metadata.version("synfarm"),
        reads=read_versions(JobSpec),
        slots=slots,
        model=model,
        host=host,
        pid=os.getpid(),
        started_at=utc_now(),
    )


class _Stopped(BaseException):
    """SIGTERM or SIGINT, before there was anything to finish."""


class WorkerProcess:
    """A worker but for its work; a composition root makes one, gives it the work, and runs it."""

    def __init__(
        self,
        store: ObjectStore,
        info: WorkerInfo,
        *,
        redis_settings: RedisSettings,
        faults: Faults,
        grace_seconds: float,
        patience: Patience | None = None,
        finishing: FinishingRoom | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        """
        Args:
            grace_seconds: after SIGTERM units get this long to finish, then they are handed back.
            patience: when work counts as hung: leases are no longer renewed, ``/healthz`` says so, the process ends.
            finishing: where units finish beside the next one, if this worker's work leaves something to finish.
        """
        self._store, self._redis = store, connect(redis_settings)
        keys = self._keys = Keys(redis_settings.namespace)
        self._name, self._room, self._tracing = info.id, finishing, tracing or Tracing()
        self.order = QueueOrder()
        self.specs = SpecCache(store)
        self.app = make_app(redis_settings, order=self.order)
        self.board = Board(self._redis, keys, RedisClock(self._redis))
        self.draining = Draining(grace_seconds)
        self.patience = patience or Patience()
        self.presence = Presence(self._redis, keys, info, draining=self.draining, patience=self.patience)
        self._watchdog = Watchdog(self.presence, self.patience)
        self._leases = LeaseBook(self._redis, keys, worker=info.id, settings=LeaseSettings(), patience=self.patience)
        self._prepared = True
        self._outages = Outages()
        self._health: HealthServer | None = None
        self._claimed: Callable[[UnitTask], None] = lambda _: None
        self._runner = UnitRunner(
            store=store,
            board=self.board,
            flags=FlagBook(self._redis, keys, store),
            leases=self._leases,
            faults=faults,
            draining=self.draining,
            presence=self.presence,
            specs=self.specs,
            room=finishing,
            claimed=lambda unit: self._claimed(unit),
        )

    def take(
        self,
        task: str,
        work: Work,
        told: Callable[[Outcome, float], None] = lambda how, seconds: None,
        claimed: Callable[[UnitTask], None] = lambda _: None,
    ) -> None:
        """Do ``work`` for every message of ``task``.

        Args:
            told: hears how each ended, and after how many seconds.
            claimed: as :class:`UnitRunner` has it.
        """
        self._claimed = claimed

        def unit(bound: Any, message: dict[str, object]) -> None:
            began = time.monotonic()
            with self._traced(message, bound.request.headers or {}) as span:

                def ended(outcome: Outcome) -> None:
                    span.ended(outcome.value)
                    told(outcome, time.monotonic() - began)

                self._runner.run_message(message, work, ended)
            try:
                self._redis.ping()
            except RedisError:
                give_up()

        self.app.task(name=task, shared=False, bind=True)(unit)

    def _traced(self, message: dict[str, object], carrier: Mapping[str, str]) -> AbstractContextManager[UnitSpan]:
        try:
            return self._tracing.unit(UnitTask.from_message(message), carrier)
        except ValidationError:
            return nullcontext(UnitSpan())  # its runner tells why it is left alone

    def waiting(self, queues: Sequence[str]) -> WaitingUnits:
        """A look at what this worker would take next from ``queues``."""
        return WaitingUnits(self._redis, self._keys, queues, self.order.arranged)

    def serve_health(self, registry: CollectorRegistry, *, host: str, port: int) -> None:
        """Answer ``/healthz``, ``/readyz`` and ``/metrics`` from here to the end of :meth:`run`.

        What every worker tells joins ``registry``.

        Raises:
            OSError: the port is taken.
        """
        registry.register(WorkerCollector(self.presence))
        self._health = HealthServer(registry, health=self._well, readiness=self._ready, host=host, port=port)
        self._health.start()

    def run(
        self,
        queues: Sequence[str],
        *,
        pool: Literal["solo", "threads"],
        concurrency: int = 1,
        prepare: Callable[[], None] | None = None,
    ) -> int:
        """Consume ``queues`` until SIGTERM or until the broker is lost; the exit code (see :func:`run_worker`).

        Args:
            prepare: called before the first unit is taken, with everybody told that this worker is here; it is not
                ready before this returns.
        """
        self.presence.start()
        self._watchdog.start()
        try:
            if prepare is not None:
                self._prepared = False
                with _ended_by_signals():
                    prepare()
                self._prepared = True
            return run_worker(
                self.app, queues=queues, pool=pool, concurrency=concurrency, draining=self.draining, name=self._name
            )
        except _Stopped:
            return 0
        finally:
            self._wait_for_finishing()
            self.presence.stop()
            self._leases.close()
            if self._health is not None:
                self._health.stop()
            self._watchdog.stop()

    def _well(self) -> tuple[bool, Mapping[str, object]]:
        info, idle, hangs = self.presence.info(), self.presence.idle_seconds, self.presence.hangs()
        return not hangs, {
            "status": "stalled" if hangs else "loading" if info.loading else "ok",
            "progress_age_seconds": info.progress_age_seconds,
            "units": info.units,
            "idle_seconds": None if idle is None else round(idle, 1),
            "loading": info.loading,
        }

    def _ready(self) -> tuple[bool, Mapping[str, object]]:
        # Asked without a key: what was said, and by which address, is in the log and in GET /v1/workers.
        info, missing = self.presence.info(), dependencies_away(self._store, self._redis, self._outages)
        if not self._prepared:
            missing["model"] = "cannot be loaded" if info.trouble else "is being loaded"
        return not missing, {
            "status": "not ready" if missing else "ready",
            "missing": missing,
            "model": info.model if info.kind == "render" else None,
        }

    def _wait_for_finishing(self) -> None:
        """Units whose dear part is done finish within the grace period, which begins now if no SIGTERM began it."""
        if self._room is None:
            return
        self.draining.start()
        if self._room.wait_until_empty(self.draining.remaining):
            return
        try:
            _log.warning("handed_back_unfinished", units=self._leases.hand_back())
        except RedisError as error:
            _log.warning("leases_left_to_expire", error=str(error))


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Within the block SIGTERM and SIGINT raise: there is no unit to finish."""

    def stop(*_: object) -> None:
        raise _Stopped

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
