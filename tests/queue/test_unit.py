"""The harness of one unit: every way in which work can end, and what is left in Redis afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kombu.exceptions import OperationalError
from redis import Redis
from redis.exceptions import RedisError

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.jobs import Concept, JobSpec
from synfarm.contracts.renders import UnitTask
from synfarm.faults import Faults
from synfarm.queue.board import Board
from synfarm.queue.draining import Draining
from synfarm.queue.flags import FlagBook
from synfarm.queue.keys import Keys
from synfarm.queue.lease import Lease, LeaseBook, LeaseSettings
from synfarm.queue.presence import Presence, WorkerInfo, live_workers
from synfarm.queue.unit import EnvironmentFault, Outcome, UnitFault, UnitRunner
from synfarm.storage.memory import MemoryStore
from synfarm.storage.protocol import StoreUnavailable

pytestmark = pytest.mark.integration

JOB = "01jd0000000000000000000000"
Send = Callable[..., UnitTask]


class Bench:
    """A runner and everything around it."""

    def __init__(
        self,
        redis: Redis,
        keys: Keys,
        board: Board,
        *,
        faults: str = "",
        claimed: Callable[[UnitTask], None] = lambda _: None,
    ) -> None:
        self.store = MemoryStore()
        spec = JobSpec(
            job=JOB, owner="me", created_at=utc_now(), concepts=(Concept(name="cat"),), captions=8, captions_per_unit=4
        )
        self.store.create(layout.job(JOB), spec.to_bytes())
        self.store.create(layout.active(JOB), b"{}")
        self.board, self.draining = board, Draining(grace_seconds=0)
        self.flags = FlagBook(redis, keys, self.store)
        self.leases = LeaseBook(redis, keys, worker="w", settings=LeaseSettings())
        info = WorkerInfo(id="w", kind="render", capabilities=("collage-s",), started_at=utc_now())
        self.presence = Presence(redis, keys, info, draining=self.draining)
        self.runner = UnitRunner(
            store=self.store,
            board=board,
            flags=self.flags,
            leases=self.leases,
            faults=Faults(faults),
            draining=self.draining,
            presence=self.presence,
            claimed=claimed,
        )
        self.seen: list[UnitTask] = []

    def work(self, spec: JobSpec, task: UnitTask, lease: Lease) -> None:
        self.seen.append(task)
        lease.check()

    def run(self, task: UnitTask, error: Exception | None = None) -> Outcome:
        def failing(spec: JobSpec, task: UnitTask, lease: Lease) -> None:
            assert error is not None
            raise error

        return self.runner.run(task, self.work if error is None else failing)

    def set_flag(self, key: str) -> None:
        self.store.put(key, b"{}")
        self.flags.refresh(JOB)


@pytest.fixture
def bench(redis: Redis, keys: Keys, board: Board) -> Iterator[Bench]:
    made = Bench(redis, keys, board)
    yield made
    made.leases.close()


def left(bench: Bench) -> tuple[int, int]:
    """Units in the sent-table, claims."""
    return len(bench.board.flight.sent(JOB)), len(bench.board.flight.claims(JOB))


def test_done_leaves_the_send_and_no_claim(bench: Bench, sent_task: Send) -> None:
    assert bench.run(sent_task()) is Outcome.DONE
    assert left(bench) == (1, 0)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (UnitFault("NaN"), Outcome.FAULT),
        (ValueError("unexpected"), Outcome.FAULT),
        (EnvironmentFault("LLM away"), Outcome.ENVIRONMENT),
        (StoreUnavailable("503"), Outcome.ENVIRONMENT),
        (RedisError("away"), Outcome.ENVIRONMENT),
        (OperationalError("no broker"), Outcome.ENVIRONMENT),
    ],
)
def test_after_a_fault_the_unit_is_free_at_once(
    bench: Bench, sent_task: Send, error: Exception, outcome: Outcome
) -> None:
    assert bench.run(sent_task(), error) is outcome
    assert left(bench) == (0, 0)


def test_three_unit_faults_write_a_dead_letter_and_environment_faults_never(bench: Bench, sent_task: Send) -> None:
    for _ in range(5):
        assert bench.run(sent_task(), EnvironmentFault("LLM away")) is Outcome.ENVIRONMENT
    assert bench.run(sent_task(), UnitFault("NaN")) is Outcome.FAULT
    assert bench.run(sent_task(), UnitFault("NaN")) is Outcome.FAULT
    assert bench.store.head(layout.failure(JOB, 0)) is None
    assert bench.run(sent_task(), UnitFault("NaN")) is Outcome.DEAD
    assert bench.store.head(layout.failure(JOB, 0)) is not None


@pytest.mark.parametrize("flag", [layout.pause, layout.cancel, layout.tombstone])
def test_what_the_user_asked_is_seen_before_and_during_work(bench: Bench, sent_task: Send, flag: Any) -> None:
    bench.set_flag(flag(JOB))
    assert bench.run(sent_task()) is Outcome.HANDED_BACK
    assert bench.seen == []
    bench.store.delete(flag(JOB))
    bench.flags.refresh(JOB)

    def asks_meanwhile(spec: JobSpec, task: UnitTask, lease: Lease) -> None:
        bench.set_flag(flag(JOB))
        lease.check()

    assert bench.runner.run(sent_task(), asks_meanwhile) is Outcome.HANDED_BACK
    assert left(bench) == (0, 0)


def test_flags_lost_with_redis_are_read_from_the_store(bench: Bench, redis: Redis, sent_task: Send) -> None:
    bench.set_flag(layout.cancel(JOB))
    redis.flushall()
    assert bench.run(sent_task()) is Outcome.HANDED_BACK
    assert bench.seen == []


def test_a_committed_unit_and_an_ended_job_need_no_work(bench: Bench, sent_task: Send) -> None:
    bench.store.create(layout.commit(JOB, 0), b"{}")
    assert bench.run(sent_task(0)) is Outcome.DROPPED
    bench.store.delete(layout.active(JOB))
    assert bench.run(sent_task(1)) is Outcome.DROPPED
    assert bench.seen == []


def test_a_unit_is_told_before_the_store_is_asked_and_one_that_is_let_go_is_not(
    redis: Redis, keys: Keys, board: Board, sent_task: Send
) -> None:
    asked: list[object] = []
    bench = Bench(redis, keys, board, claimed=asked.append)
    bench.store.fault = lambda operation, key: asked.append(operation)
    task = sent_task()
    assert bench.run(task) is Outcome.DONE
    assert asked[asked.index(task) + 1 :][:2] == ["head", "head"]
    bench.draining.start()
    asked.clear()
    assert bench.run(sent_task()) is Outcome.HANDED_BACK
    assert asked == []
    bench.leases.close()


def test_a_stopping_worker_hands_back(bench: Bench, sent_task: Send) -> None:
    def told_to_stop(spec: JobSpec, task: UnitTask, lease: Lease) -> None:
        bench.draining.start()
        lease.check()

    assert bench.runner.run(sent_task(), told_to_stop) is Outcome.HANDED_BACK
    assert bench.run(sent_task()) is Outcome.HANDED_BACK
    assert bench.seen == []
    assert left(bench) == (0, 0)


def test_an_interrupted_process_hands_back_and_dies(bench: Bench, sent_task: Send) -> None:
    def interrupted(spec: JobSpec, task: UnitTask, lease: Lease) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.runner.run(sent_task(), interrupted)
    assert left(bench) == (0, 0)


def test_the_hook_after_the_claim_falls_once(
    redis: Redis, keys: Keys, board: Board, sent_task: Send, tmp_path: Any
) -> None:
    bench = Bench(redis, keys, board, faults=f"render.after_claim:unit=0:raise:{tmp_path / 'fell'}")
    assert bench.run(sent_task()) is Outcome.FAULT
    assert (tmp_path / "fell").exists()
    assert bench.run(sent_task()) is Outcome.DONE
    bench.leases.close()


def test_a_worker_tells_what_it_works_on_and_is_gone_when_it_stops(
    bench: Bench, redis: Redis, keys: Keys, sent_task: Send
) -> None:
    bench.presence.start()

    def looks(spec: JobSpec, task: UnitTask, lease: Lease) -> None:
        assert bench.presence.info().units == (f"{JOB}/0",)

    assert bench.runner.run(sent_task(), looks) is Outcome.DONE
    assert bench.presence.info().units == ()
    bench.presence.stop()
    assert live_workers(redis, keys) == []
