"""A worker that meets what a newer version of the farm wrote leaves it alone, and says so."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis import Redis

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.captions import CaptionRecord
from synfarm.contracts.jobs import Concept, JobSpec
from synfarm.contracts.renders import UnitTask
from synfarm.contracts.workers import WorkerInfo
from synfarm.faults import Faults
from synfarm.queue import unit as unit_module
from synfarm.queue.board import Board
from synfarm.queue.draining import Draining
from synfarm.queue.flags import FlagBook
from synfarm.queue.keys import Keys
from synfarm.queue.lease import Lease, LeaseBook, LeaseSettings
from synfarm.queue.presence import live_workers
from synfarm.queue.unit import Outcome, UnitRunner
from synfarm.storage.memory import MemoryStore

pytestmark = pytest.mark.integration

JOB = "01jd0000000000000000000000"
Send = Callable[..., UnitTask]


@pytest.fixture
def store() -> MemoryStore:
    made = MemoryStore()
    made.create(layout.job(JOB), spec().to_bytes())
    made.create(layout.active(JOB), b"{}")
    return made


@pytest.fixture
def runner(store: MemoryStore, redis: Redis, keys: Keys, board: Board) -> Iterator[UnitRunner]:
    leases = LeaseBook(redis, keys, worker="w", settings=LeaseSettings())
    yield UnitRunner(
        store=store,
        board=board,
        flags=FlagBook(redis, keys, store),
        leases=leases,
        faults=Faults(),
        draining=Draining(),
    )
    leases.close()


def spec() -> JobSpec:
    return JobSpec(
        job=JOB, owner="me", created_at=utc_now(), concepts=(Concept(name="cat"),), captions=8, captions_per_unit=4
    )


def newer(data: bytes, **changes: Any) -> bytes:
    return json.dumps({**json.loads(data), **changes}).encode()


def nothing(spec: JobSpec, task: UnitTask, lease: Lease) -> None:
    """Work that is done at once."""


def reads_captions(spec: JobSpec, task: UnitTask, lease: Lease) -> None:
    CaptionRecord.from_bytes(b'{"schema_version": 2}')


def assert_left_alone(board: Board, redis: Redis, keys: Keys, store: MemoryStore) -> None:
    """Nobody holds the unit, nothing was counted, and the feeder may send it again when it has backed off."""
    assert board.flight.sent(JOB) == {}
    assert board.flight.claims(JOB) == {}
    assert board.flight.leases(JOB, [0]) == {}
    assert redis.hgetall(keys.faults(JOB)) == {}
    assert not list(store.list(layout.failures_prefix(JOB)))


@pytest.mark.parametrize("changes", [{"schema_version": 2}, {"colour": "warm"}])
def test_a_unit_of_a_newer_spec_is_left_alone_however_often_it_comes(
    runner: UnitRunner,
    store: MemoryStore,
    board: Board,
    redis: Redis,
    keys: Keys,
    sent_task: Send,
    changes: dict[str, Any],
    logged: Callable[[Any], list[dict[str, Any]]],
) -> None:
    lines = logged(unit_module)
    store.put(layout.job(JOB), newer(spec().to_bytes(), **changes))
    for _ in range(5):
        assert runner.run(sent_task(), nothing) is Outcome.ENVIRONMENT
    assert_left_alone(board, redis, keys, store)
    stalled = board.counters(JOB).stalled
    assert stalled is not None
    assert stalled.endswith("; upgrade the render workers"), stalled
    assert next(line["reason"] for line in lines if line["event"] == "environment_fault") in stalled
    store.put(layout.job(JOB), spec().to_bytes())  # as a newer worker reads it
    assert runner.run(sent_task(), nothing) is Outcome.DONE
    assert board.counters(JOB).stalled is None


def test_a_spec_that_no_version_wrote_is_no_fault_of_its_units(
    runner: UnitRunner, store: MemoryStore, board: Board, redis: Redis, keys: Keys, sent_task: Send
) -> None:
    store.put(layout.job(JOB), b"{}")
    for _ in range(5):
        assert runner.run(sent_task(), nothing) is Outcome.ENVIRONMENT
    assert_left_alone(board, redis, keys, store)
    assert "spec or an opening cannot be read" in str(board.counters(JOB).stalled)


def test_newer_captions_are_left_alone_too(
    runner: UnitRunner, store: MemoryStore, board: Board, redis: Redis, keys: Keys, sent_task: Send
) -> None:
    for _ in range(5):
        assert runner.run(sent_task(), reads_captions) is Outcome.ENVIRONMENT
    assert_left_alone(board, redis, keys, store)
    assert "CaptionRecord: contract 2" in str(board.counters(JOB).stalled)


def test_a_message_with_more_in_it_is_taken_and_one_of_another_contract_is_left_alone(
    runner: UnitRunner, store: MemoryStore, board: Board, redis: Redis, keys: Keys, sent_task: Send
) -> None:
    message = sent_task().model_dump(mode="json")
    assert runner.run_message({**message, "traceparent": "00-ab-cd-01"}, nothing) is Outcome.DONE
    message = sent_task().model_dump(mode="json")
    assert runner.run_message({**message, "schema_version": 2}, nothing) is Outcome.ENVIRONMENT
    assert_left_alone(board, redis, keys, store)
    assert "UnitTask: contract 2" in str(board.counters(JOB).stalled)
    for stranger in ({}, {"job": 7, "unit": "x"}, {"job": JOB, "unit": 0, "stage": "paint"}):
        assert runner.run_message(stranger, nothing) is Outcome.ENVIRONMENT


def test_the_newer_commit_of_another_worker_stands(
    runner: UnitRunner, store: MemoryStore, board: Board, sent_task: Send
) -> None:
    store.create(layout.commit(JOB, 0), b'{"schema_version": 2}')
    assert runner.run(sent_task(), nothing) is Outcome.DROPPED
    assert board.counters(JOB).stalled is None


def test_a_newer_worker_is_listed_and_one_that_cannot_be_read_hides_nobody(redis: Redis, keys: Keys) -> None:
    now = utc_now()
    told = {name: WorkerInfo(id=name, kind="render", started_at=now).to_bytes() for name in ("a", "b", "c")}
    told["b"] = newer(told["b"], power_watts=700, reads=[1, 2])
    told["c"] = newer(told["c"], kind="painter")
    for name, value in told.items():
        redis.sadd(keys.workers, name)
        redis.set(keys.worker(name), value)
    assert [(worker.id, worker.reads) for worker in live_workers(redis, keys)] == [("a", (1,)), ("b", (1, 2))]
