"""Where faults fall: the farm, its pace, and eyes on Redis and the store that no outage blinds for long."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from redis import Redis
from redis.exceptions import RedisError
from tests.chaos.random_faults.plan import Pace
from tests.chaos.random_faults.repairs import Loss, Repairs

from synfarm.queue.board import Board, JobCounters
from synfarm.queue.clock import RedisClock
from synfarm.queue.presence import live_workers
from synfarm.storage.minio_store import MinioStore

__all__ = ["WORKERS", "Site"]

WORKERS = ("caption-worker", "render-worker")
_PATIENCE_SECONDS = 30
"""A fault waits so long to find work, which other faults may hold up."""
_UNDER_WAY_SECONDS = 10
"""A pass of the feeder that was under way when memory was lost may still have ended a job."""
_KEPT = ("host", "port", "password", "decode_responses")


@dataclass
class Site:
    """What a fault is given. What may block runs in threads: the supervisor lives on this loop."""

    farm: Any
    pace: Pace
    jobs: list[str] = field(default_factory=list)
    """Submitted so far."""
    memory_lost: list[float] = field(default_factory=list)
    """When Redis lost or changed its memory; seconds of ``time.time()``."""
    last_counters: dict[str, tuple[float, JobCounters]] = field(default_factory=dict)
    """Of a job, as they were soon after its end, and when that was."""

    def __post_init__(self) -> None:
        kept = {name: self.farm.redis.connection_pool.connection_kwargs[name] for name in _KEPT}
        self.redis = Redis(**kept, socket_timeout=1.0, socket_connect_timeout=1.0)
        self.board = Board(self.redis, self.farm.keys, RedisClock(self.redis))
        self.flight = self.board.flight
        self.store = MinioStore(self.farm.store_settings.model_copy(update={"retries": 0, "read_timeout": 2.0}))
        self.repairs = Repairs(self.redis, self.flight, self.store)

    def close(self) -> None:
        self.redis.close()

    # Processes.

    def twins(self, process: str) -> list[str]:
        """The process and its twin."""
        return [name for name in (process, f"{process}-2") if name in self.farm.processes]

    async def running(self, process: str) -> int:
        """The pid of a process, waited for if it is just being started again."""

        async def runs() -> bool:
            return self.farm.supervisor.pid(process) is not None

        await self.farm.until(runs, 120)
        return int(self.farm.supervisor.pid(process))

    async def victim(self, process: str, chance: random.Random) -> tuple[str, int]:
        """One of the twins, by name and pid: of workers one that has units in hand, if one has any in time."""
        names = self.twins(process)
        chance.shuffle(names)
        until = time.monotonic() + (_PATIENCE_SECONDS if process in WORKERS else 0)
        while time.monotonic() < until:
            for name in names:
                pid = self.farm.supervisor.pid(name)
                if pid is not None and await self.held_by(pid):
                    return name, pid
            await asyncio.sleep(0.05)
        return names[0], await self.running(names[0])

    @staticmethod
    def send(pid: int, what: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, what)

    # What is lost.

    async def held_by(self, pid: int) -> list[Loss]:
        """The units that a worker holds now; none if Redis does not tell."""

        def look() -> list[Loss]:
            ids = {worker.id for worker in live_workers(self.redis, self.farm.keys) if worker.pid == pid}
            return [
                Loss(job, unit, sequence=holder.sequence, attempt=holder.attempt)
                for job in self.jobs
                for unit, holder in self.flight.claims(job).items()
                if holder.worker in ids
            ]

        return await self._unless_away(look)

    async def in_flight(self) -> list[Loss]:
        """The units that were sent and are not finished, waited for; none if Redis tells of none in time."""

        def look() -> list[Loss]:
            return [
                Loss(job, unit, sequence=sent.sequence)
                for job in self.jobs
                for unit, sent in self.flight.sent(job).items()
            ]

        until = time.monotonic() + _PATIENCE_SECONDS
        while not (found := await self._unless_away(look)):
            if time.monotonic() > until:
                return []
            await asyncio.sleep(0.05)
        return found

    @staticmethod
    async def _unless_away(look: Any) -> list[Loss]:
        try:
            return await asyncio.to_thread(look)
        except RedisError:
            return []

    def lose(self, cause: str, losses: Iterable[Loss]) -> int:
        """These are lost from here on; how many there are."""
        return self.repairs.expect(cause, time.time(), losses)

    def forgets(self) -> None:
        """Redis loses or changes its memory now."""
        self.memory_lost.append(time.time())
        self.repairs.begin_anew()

    def counters_at_end(self, job: str, ended_at: float) -> JobCounters | None:
        """Those that must be true: none if Redis changed its memory just before the end or before they were read."""
        read_at, counters = self.last_counters.get(job, (0.0, None))
        disturbed = any(ended_at - _UNDER_WAY_SECONDS < lost < read_at for lost in self.memory_lost)
        return None if disturbed else counters

    @contextmanager
    def away(self, what: str, *, lasting: float = 0.0) -> Iterator[None]:
        """For the time of the block, and ``lasting`` seconds after it, something that all work needs is away."""
        began = time.time()
        try:
            yield
        finally:
            self.repairs.was_away(what, began, time.time() + lasting)
