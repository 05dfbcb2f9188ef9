"""Nothing is lost: real Redis, real S3, real worker processes, and faults that fall while a job is in work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from redis import Redis
from redis.exceptions import RedisError
from ulid import ULID

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.jobs import Concept, JobSpec, JobState
from synfarm.contracts.manifests import Ended, read_part
from synfarm.contracts.renders import Stage
from synfarm.local.servers import LocalRedis
from synfarm.queue.app import connect, make_app
from synfarm.queue.board import Board, JobCounters
from synfarm.queue.clock import RedisClock
from synfarm.queue.keys import Keys
from synfarm.settings import RedisSettings, StoreSettings
from synfarm.storage.protocol import ObjectStore
from synfarm_caption_api.feeder.run import run_feeder
from synfarm_caption_api.feeder.settings import FeederSettings

pytestmark = [pytest.mark.integration, pytest.mark.chaos]

WORKER = Path(__file__).parent / "feeder_worker.py"
RULES = FeederSettings(
    pass_seconds=0.1,
    lock_seconds=2,
    claim_gap_seconds=3,
    settle_seconds=1.5,
    epoch_grace_seconds=1.5,
    window_min=4,
    part_units=8,
    progress_seconds=0.5,
)
LEASE_TTL = "4"
PATIENT_TTL = "60"
"""For tests in which no worker dies: a lease then never expires, however starved its holder is here."""


class Stack:
    """Feeders in threads, workers in processes that are started again when they end, as a supervisor does."""

    def __init__(self, server: LocalRedis, store: ObjectStore, store_settings: StoreSettings, logs: Path) -> None:
        self.server, self.store, self._logs = server, store, logs
        self.settings = RedisSettings(url=SecretStr(server.url()), namespace="chaos")
        self.redis: Redis = connect(self.settings)
        self.keys = Keys("chaos")
        self.board = Board(self.redis, self.keys, RedisClock(self.redis))
        self.env = {
            **os.environ,
            "SYNFARM_REDIS_URL": server.url(),
            "SYNFARM_REDIS_NAMESPACE": "chaos",
            "SYNFARM_LEASE_TTL_SECONDS": LEASE_TTL,
            "SYNFARM_STORE_ENDPOINT": store_settings.endpoint,
            "SYNFARM_STORE_ACCESS_KEY": store_settings.access_key.get_secret_value(),
            "SYNFARM_STORE_SECRET_KEY": store_settings.secret_key.get_secret_value(),
            "SYNFARM_STORE_BUCKET": store_settings.bucket,
            "SYNFARM_STORE_PREFIX": store_settings.prefix,
            "OMP_NUM_THREADS": "1",
        }
        self._faults: dict[str, str] = {}
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        self.codes: list[int] = []
        self._feeders: list[tuple[threading.Event, threading.Thread]] = []
        self.unit_seconds = 0.08

    def start_feeder(self) -> threading.Event:
        stop = threading.Event()
        arguments: dict[str, Any] = {
            "store": self.store,
            "redis": connect(self.settings),
            "keys": self.keys,
            "app": make_app(self.settings),
            "settings": RULES,
            "stop": stop,
        }
        thread = threading.Thread(target=run_feeder, kwargs=arguments, daemon=True)
        thread.start()
        self._feeders.append((stop, thread))
        return stop

    def start_worker(self, stage: str, *, faults: str = "") -> str:
        name = f"{stage}-{len(self.workers)}"
        self._faults[name] = faults
        self._spawn(stage, name)
        return name

    def _spawn(self, stage: str, name: str) -> None:
        with (self._logs / f"{name}.log").open("ab") as log:
            self.workers[name] = subprocess.Popen(
                [sys.executable, str(WORKER), stage, name, str(self.unit_seconds)],
                env={**self.env, "SYNFARM_FAULTS": self._faults[name]},
                stdout=log,
                stderr=log,
            )

    def submit(self, captions: int = 56) -> JobSpec:
        spec = JobSpec(
            job=str(ULID()).lower(),
            owner="me",
            created_at=utc_now(),
            concepts=(Concept(name="cat"),),
            captions=captions,
            captions_per_unit=4,
            images_per_caption=2,
        )
        self.store.create(layout.job(spec.job), spec.to_bytes())
        self.store.create(layout.active(spec.job), b"{}")
        return spec

    def wait(self, what: Callable[[], bool], seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < deadline, "waited in vain"
            for name, worker in list(self.workers.items()):
                if worker.poll() is not None:
                    self.codes.append(worker.returncode)
                    self._spawn(name.partition("-")[0], name)
            time.sleep(0.05)

    def counters(self, spec: JobSpec) -> JobCounters:
        try:
            return self.board.counters(spec.job)
        except RedisError:
            return JobCounters()

    def until_at_work(self, spec: JobSpec) -> None:
        """Wait for the middle of the job: something is committed, something in flight, a good part still to come."""

        def at_work() -> bool:
            counters = self.counters(spec)
            return counters.counts.units_committed >= 4 and counters.in_flight >= 2

        self.wait(at_work)
        assert self.counters(spec).counts.units_committed < spec.units - 4

    def finish(self, spec: JobSpec) -> Ended:
        self.wait(lambda: self.store.head(layout.ended(spec.job, 1)) is not None)
        ended = Ended.from_bytes(self.store.get(layout.ended(spec.job, 1)))
        assert ended.state is JobState.COMPLETED
        lines = [line for part in ended.parts for line in read_part(self.store.get(part.key))]
        assert [line.unit for line in lines] == list(range(spec.units)), "manifest = plan"
        assert ended.counts.captions + ended.counts.empty == spec.captions, "less the listed slots"
        assert self.board.counters(spec.job).counts == ended.counts
        return ended

    def close(self) -> None:
        for stop, thread in self._feeders:
            stop.set()
            thread.join(30)
        for worker in self.workers.values():
            worker.kill()
            worker.wait()
        self.redis.close()


@pytest.fixture
def stack(tmp_path: Path, store: ObjectStore, store_settings: StoreSettings) -> Iterator[Stack]:
    server = LocalRedis.start(tmp_path / "redis")
    made = Stack(server, store, store_settings, tmp_path)
    made.start_feeder()
    yield made
    made.close()
    server.server.kill()


def test_workers_killed_at_each_step_of_the_protocol(stack: Stack, tmp_path: Path) -> None:
    points = {
        "caption.after_claim": 2,
        "caption.after_jsonl": 6,
        "render.after_claim": 3,
        "render.before_commit": 5,
        "render.after_commit": 7,
    }
    for stage in ("caption", "render"):
        armed = [f"{p}:unit={u}:kill:{tmp_path / p}" for p, u in points.items() if p.startswith(stage)]
        stack.start_worker(stage, faults=";".join(armed))
    spec = stack.submit(48)
    stack.finish(spec)
    assert all((tmp_path / point).exists() for point in points), "every fault fell"
    assert stack.codes == [-signal.SIGKILL] * 5
    counters = stack.board.counters(spec.job)
    # The unit whose commit stood needs no repair. Two caption units are in work at a time: a kill may take both.
    assert 4 <= counters.repairs <= 6
    # A unit whose captions were written goes on to its render, which is no second send.
    assert counters.resends < counters.repairs, "no unit is sent twice without need"


def test_redis_flushed_in_the_middle(stack: Stack) -> None:
    stack.unit_seconds = 0.25
    stack.start_worker("caption")
    stack.start_worker("render")
    spec = stack.submit()
    stack.until_at_work(spec)
    stack.redis.flushall()
    stack.finish(spec)


def test_redis_killed_and_started_again(stack: Stack) -> None:
    stack.unit_seconds = 0.25
    stack.start_worker("caption")
    stack.start_worker("render")
    spec = stack.submit()
    stack.until_at_work(spec)
    stack.server.server.kill()
    stack.wait(lambda: len(stack.codes) >= 2)
    assert all(code > 0 for code in stack.codes), "workers end with a code of their own when the broker is lost"
    stack.server.server.start()
    stack.finish(spec)


def test_messages_lost_from_the_queues(stack: Stack) -> None:
    stack.env["SYNFARM_LEASE_TTL_SECONDS"] = PATIENT_TTL
    stack.start_worker("caption")
    spec = stack.submit()
    queue = stack.keys.queue("render.collage-s.normal")
    stack.wait(lambda: int(stack.redis.llen(queue)) >= 3)
    with stack.redis.pipeline(transaction=True) as both:
        lost, _ = both.llen(queue).delete(queue).execute()
    stack.start_worker("render")
    stack.finish(spec)
    assert stack.board.counters(spec.job).resends == lost


def test_one_of_two_feeders_stops_in_the_middle(stack: Stack) -> None:
    stack.env["SYNFARM_LEASE_TTL_SECONDS"] = PATIENT_TTL
    stack.unit_seconds = 0.25
    stack.start_worker("caption")
    stack.start_worker("render")
    stack.start_feeder()
    spec = stack.submit()
    stack.until_at_work(spec)
    stack._feeders[0][0].set()
    stack._feeders[0][1].join(30)
    stack.finish(spec)
    assert stack.board.counters(spec.job).resends == 0


def test_a_worker_told_to_stop_finishes_its_unit(stack: Stack) -> None:
    stack.env["SYNFARM_LEASE_TTL_SECONDS"] = PATIENT_TTL
    stack.start_worker("caption")
    # Long units: a signal that falls between two of them has the next one, already taken, handed back and sent again.
    stack.unit_seconds = 0.6
    name = stack.start_worker("render")
    spec = stack.submit()
    stack.until_at_work(spec)

    def rendered() -> set[int]:
        leased = stack.board.flight.leases(spec.job, range(spec.units))
        return {unit for unit, holder in leased.items() if holder.stage is Stage.RENDER}

    stack.wait(rendered)
    first = rendered()
    stack.wait(lambda: rendered() - first)  # one that has just begun, so that the signal falls inside it
    stack.workers[name].send_signal(signal.SIGTERM)
    stack.finish(spec)
    assert stack.codes == [0]
    counters = stack.board.counters(spec.job)
    assert (counters.lost_workers, counters.resends) == (0, 0)
