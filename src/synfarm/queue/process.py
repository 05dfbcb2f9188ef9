"""One worker process on the queue: what every worker has, wired, started and stopped in one place."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

from prometheus_client import CollectorRegistry
from redis.exceptions import RedisError
from ulid import ULID

from synfarm.contracts.base import utc_now
from synfarm.contracts.renders import UnitTask
from synfarm.contracts.workers import WorkerInfo
from synfarm.faults import Faults
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
from synfarm.queue.presence import Presence
from synfarm.queue.specs import SpecCache
from synfarm.queue.unit import Outcome, UnitRunner, Work
from synfarm.queue.waiting import WaitingUnits
from synfarm.queue.worker import run_worker
from synfarm.settings import RedisSettings
from synfarm.storage.protocol import ObjectStore
from synfarm.telemetry import get_logger

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
        slots=slots,
        model=model,
        host=host,
        pid=os.getpid(),
        started_at=utc_now(),
    )


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
        presence_seconds: float = 15.0,
        finishing: FinishingRoom | None = None,
    ) -> None:
        """
        Args:
            grace_seconds: after SIGTERM units get this long to finish, then they are handed back.
            presence_seconds: a worker that was killed is forgotten after so long.
            finishing: where units finish beside the next one, if this worker's work leaves something to finish.
        """
        self._store, self._redis = store, connect(redis_settings)
        keys = self._keys = Keys(redis_settings.namespace)
        self._name, self._room = info.id, finishing
        self.order = QueueOrder()
        self.specs = SpecCache(store)
        self.app = make_app(redis_settings, order=self.order)
        self.board = Board(self._redis, keys, RedisClock(self._redis))
        self.draining = Draining(grace_seconds)
        self._presence = Presence(self._redis, keys, info, draining=self.draining, ttl_seconds=presence_seconds)
        self._leases = LeaseBook(self._redis, keys, worker=info.id, settings=LeaseSettings())
        self._health: HealthServer | None = None
        self._runner = UnitRunner(
            store=store,
            board=self.board,
            flags=FlagBook(self._redis, keys, store),
            leases=self._leases,
            faults=faults,
            draining=self.draining,
            presence=self._presence,
            specs=self.specs,
            room=finishing,
        )

    def take(self, task: str, work: Work, told: Callable[[Outcome], None] = lambda _: None) -> None:
        """Do ``work`` for every message of ``task``; ``told`` hears how each ended."""

        def unit(message: dict[str, object]) -> None:
            self._runner.run(UnitTask.model_validate(message), work, told)

        self.app.task(name=task, shared=False)(unit)

    def waiting(self, queues: Sequence[str]) -> WaitingUnits:
        """A look at what this worker would take next from ``queues``."""
        return WaitingUnits(self._redis, self._keys, queues, self.order.arranged)

    def loaded(self, capability: str, model: str | None) -> None:
        """Tell what this worker holds ready: its queues are asked in that order, and it says so of itself."""
        self.order.loaded(capability)
        self._presence.update(model=model)

    def serve_health(self, registry: CollectorRegistry, *, host: str, port: int, stall_seconds: float) -> None:
        """Answer ``/healthz``, ``/readyz`` and ``/metrics`` from here to the end of :meth:`run`.

        Raises:
            OSError: the port is taken.
        """
        self._health = HealthServer(
            registry,
            lambda: self._presence.info().progress_age_seconds,
            missing=partial(dependencies_away, self._store, self._redis),
            host=host,
            port=port,
            stall_seconds=stall_seconds,
        )
        self._health.start()

    def run(self, queues: Sequence[str], *, pool: Literal["solo", "threads"], concurrency: int = 1) -> int:
        """Consume ``queues`` until SIGTERM or until the broker is lost; the exit code (see :func:`run_worker`)."""
        self._presence.start()
        try:
            return run_worker(
                self.app, queues=queues, pool=pool, concurrency=concurrency, draining=self.draining, name=self._name
            )
        finally:
            self._wait_for_finishing()
            self._presence.stop()
            self._leases.close()
            if self._health is not None:
                self._health.stop()

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
