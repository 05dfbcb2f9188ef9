"""Leases on a real Redis: who holds a unit, how long, and who may let it go."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from redis import Redis

from synfarm.contracts.renders import UnitTask
from synfarm.queue import lease as module
from synfarm.queue.board import Board
from synfarm.queue.keys import Keys
from synfarm.queue.lease import Interrupt, Lease, LeaseBook, LeaseSettings, UnitInterrupted
from synfarm.queue.patience import Patience

pytestmark = pytest.mark.integration

Send = Callable[..., UnitTask]


@pytest.fixture
def book(redis: Redis, keys: Keys) -> Any:
    books: list[LeaseBook] = []

    def make(worker: str = "a", *, patience: Patience | None = None, **settings: float) -> LeaseBook:
        books.append(LeaseBook(redis, keys, worker=worker, settings=LeaseSettings(**settings), patience=patience))
        return books[-1]

    yield make
    for made in books:
        made.close()


def key(keys: Keys, task: UnitTask) -> str:
    return keys.lease(task.job, task.unit, task.stage.value)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_lease_is_renewed_as_long_as_work_goes_on(book: Any, redis: Redis, keys: Keys, sent_task: Send) -> None:
    leases, task = book(ttl_seconds=2), sent_task()
    lease = leases.claim(task)
    end = time.monotonic() + 5
    while time.monotonic() < end:
        lease.progress()
        assert redis.exists(key(keys, task))
        time.sleep(0.05)
    leases.release(lease)
    assert not redis.exists(key(keys, task))


def test_a_stalled_worker_loses_its_lease_and_learns_of_it(
    book: Any, redis: Redis, keys: Keys, sent_task: Send
) -> None:
    leases, task = book(ttl_seconds=0.5, patience=Patience(0.1)), sent_task()
    lease = leases.claim(task)
    wait_for(lambda: not redis.exists(key(keys, task)))
    other = book("b", ttl_seconds=60)
    assert other.claim(task) is not None
    lease.progress()  # it wakes up; the renewal asks again and meets the other
    wait_for(lambda: lease.progress() or lease.lost)
    with pytest.raises(UnitInterrupted) as caught:
        lease.check()
    assert caught.value.interrupt is Interrupt.LOST
    leases.release(lease)
    assert redis.exists(key(keys, task)), "only the owner releases"


def test_a_lease_lost_with_redis_memory_is_taken_again(book: Any, redis: Redis, keys: Keys, sent_task: Send) -> None:
    leases, task = book(ttl_seconds=0.6), sent_task()
    lease = leases.claim(task)
    redis.flushall()
    wait_for(lambda: bool(redis.exists(key(keys, task))))
    assert not lease.lost
    assert redis.hlen(keys.claims(task.job)) == 1


def test_a_replaced_message_is_dropped(book: Any, sent_task: Send) -> None:
    leases, old = book(), sent_task()
    new = sent_task()
    assert leases.claim(old) is None
    assert leases.claim(new) is not None


def test_release_forgets_only_its_own_send(book: Any, board: Board, sent_task: Send) -> None:
    leases, task = book(), sent_task()
    lease = leases.claim(task)
    newer = sent_task()
    leases.release(lease, forget=True)
    assert board.flight.sent(task.job)[task.unit].sequence == newer.sequence
    lease = leases.claim(newer)
    leases.release(lease, forget=True)
    assert board.flight.sent(task.job) == {}
    assert board.flight.claims(task.job) == {}


def test_claims_raise_the_highest_sequence_of_their_queue(book: Any, board: Board, sent_task: Send) -> None:
    leases = book()
    tasks = [sent_task(unit) for unit in range(3)]
    leases.claim(tasks[2])
    leases.claim(tasks[0])
    assert board.flight.claimed() == {tasks[0].queue: tasks[2].sequence}


def test_check_asks_at_most_once_a_second_and_the_end_of_grace_interrupts() -> None:
    asked = []
    lease = Lease("a", watch=lambda: asked.append(1))
    for _ in range(50):
        lease.check()
    assert len(asked) == 1
    with pytest.raises(UnitInterrupted) as caught:
        Lease("a", remaining=lambda: 0.0).check()
    assert caught.value.interrupt is Interrupt.DRAINING


def test_a_redis_that_answers_slowly_is_not_asked_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    asked = []

    def slow() -> None:
        asked.append(clock.now)
        clock.now += 1.5  # as long as a Redis takes that is away

    lease = Lease("a", watch=slow)
    for _ in range(10):
        lease.check()
        clock.now += 0.1
    assert asked == [0.0]
    clock.now += 0.1
    lease.check()
    assert len(asked) == 2
