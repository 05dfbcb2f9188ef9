"""Units that finish beside the next one: in work for everyone until they have, bounded, and waited for at the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import structlog
from redis import Redis

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.jobs import Concept, JobSpec
from synfarm.contracts.renders import RENDER_TASK, UnitTask
from synfarm.faults import Faults
from synfarm.queue import process
from synfarm.queue.board import Board
from synfarm.queue.draining import Draining
from synfarm.queue.finishing import Finishing, FinishingRoom
from synfarm.queue.flags import FlagBook
from synfarm.queue.keys import Keys
from synfarm.queue.lease import Interrupt, Lease, LeaseBook, LeaseSettings, UnitInterrupted
from synfarm.queue.presence import Presence, WorkerInfo, live_workers
from synfarm.queue.process import WorkerProcess, worker_info
from synfarm.queue.unit import EnvironmentFault, Outcome, UnitFault, UnitRunner, Work
from synfarm.settings import RedisSettings
from synfarm.storage.memory import MemoryStore

pytestmark = pytest.mark.integration

JOB = "01jd0000000000000000000000"
Send = Callable[..., UnitTask]


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def submitted() -> MemoryStore:
    store = MemoryStore()
    spec = JobSpec(
        job=JOB, owner="me", created_at=utc_now(), concepts=(Concept(name="cat"),), captions=40, captions_per_unit=4
    )
    store.create(layout.job(JOB), spec.to_bytes())
    store.create(layout.active(JOB), b"{}")
    return store


class Bench:
    """A runner with a room, and work whose rest waits for the test."""

    def __init__(self, redis: Redis, keys: Keys, board: Board, *, units: int = 2, size: int = 100) -> None:
        self.store, self.board, self.draining = submitted(), board, Draining(grace_seconds=60)
        self.leases = LeaseBook(redis, keys, worker="w", settings=LeaseSettings())
        info = WorkerInfo(id="w", kind="render", started_at=utc_now())
        self.presence = Presence(redis, keys, info, draining=self.draining)
        self.flags = FlagBook(redis, keys, self.store)
        self.room = FinishingRoom(units=units, size=size)
        self.runner = UnitRunner(
            store=self.store,
            board=board,
            flags=self.flags,
            leases=self.leases,
            faults=Faults(),
            draining=self.draining,
            presence=self.presence,
            room=self.room,
        )
        self.ends: list[Outcome] = []
        self.go = threading.Semaphore(0)
        self.leased: list[Lease] = []

    def work(self, *, error: BaseException | None = None, size: int = 1) -> Work:
        def draw(spec: JobSpec, task: UnitTask, lease: Lease) -> Finishing:
            self.leased.append(lease)

            def rest() -> None:
                assert self.go.acquire(timeout=60)
                if error is not None:
                    raise error

            return Finishing(rest, size)

        return draw

    def run(self, task: UnitTask, **how: Any) -> Outcome | None:
        return self.runner.run(task, self.work(**how), self.ends.append)


@pytest.fixture
def bench(redis: Redis, keys: Keys, board: Board) -> Iterator[Bench]:
    made = Bench(redis, keys, board)
    yield made
    made.go.release(10)
    # The connections are closed next: a unit that still lets go of its lease would fail under another test's name.
    assert made.room.wait_until_empty(60)
    made.leases.close()


def test_a_unit_is_in_work_until_it_has_finished(bench: Bench, redis: Redis, keys: Keys, sent_task: Send) -> None:
    first, second = sent_task(0), sent_task(1)
    assert bench.run(first) is None
    assert bench.run(second) is None
    assert bench.ends == []
    assert bench.presence.info().units == (f"{JOB}/0", f"{JOB}/1")
    assert all(redis.exists(keys.lease(JOB, unit, "render")) for unit in (0, 1))
    assert len(bench.board.flight.claims(JOB)) == 2
    bench.go.release(2)
    until(lambda: bench.ends == [Outcome.DONE] * 2)
    assert bench.presence.info().units == ()
    assert not any(redis.exists(keys.lease(JOB, unit, "render")) for unit in (0, 1))
    assert (len(bench.board.flight.sent(JOB)), bench.board.flight.claims(JOB)) == (2, {})


@pytest.mark.parametrize(
    ("error", "outcome", "sent"),
    [
        (UnitFault("black"), Outcome.FAULT, 0),
        (ValueError("unexpected"), Outcome.FAULT, 0),
        (EnvironmentFault("store away"), Outcome.ENVIRONMENT, 0),
        (UnitInterrupted(Interrupt.CANCELLED), Outcome.HANDED_BACK, 0),
        (UnitInterrupted(Interrupt.LOST), Outcome.LOST, 1),
    ],
)
def test_what_goes_wrong_while_finishing_means_the_same(
    bench: Bench, sent_task: Send, error: Exception, outcome: Outcome, sent: int
) -> None:
    assert bench.run(sent_task(), error=error) is None
    bench.go.release()
    until(lambda: bench.ends == [outcome])
    assert (len(bench.board.flight.sent(JOB)), len(bench.board.flight.claims(JOB))) == (sent, 0)


def test_three_faults_while_finishing_are_the_end_of_a_unit(bench: Bench, sent_task: Send) -> None:
    for number in range(3):
        bench.go.release()
        bench.run(sent_task(), error=UnitFault("black"))
        until(lambda: len(bench.ends) == number + 1)  # noqa: B023 - called at once
    assert bench.ends == [Outcome.FAULT, Outcome.FAULT, Outcome.DEAD]
    assert bench.store.head(layout.failure(JOB, 0)) is not None


@pytest.mark.parametrize(("units", "size"), [(1, 1), (9, 60)], ids=["too many units", "too many bytes"])
def test_no_unit_is_taken_while_too_much_finishes(
    redis: Redis, keys: Keys, board: Board, sent_task: Send, units: int, size: int
) -> None:
    bench = Bench(redis, keys, board, units=units)
    taken: list[int] = []

    def take_all() -> None:
        for unit in range(4):
            bench.run(sent_task(unit), size=size)
            taken.append(unit)

    thread = threading.Thread(target=take_all)
    thread.start()
    until(lambda: bench.room.units == 2)
    assert taken == [0], "the second was drawn, and the worker waits with it"
    bench.go.release()
    until(lambda: bench.room.units == 2 and taken == [0, 1])
    bench.go.release(3)
    thread.join(60)
    until(lambda: bench.ends == [Outcome.DONE] * 4)
    bench.leases.close()


def test_a_stopping_worker_does_not_wait_for_room(redis: Redis, keys: Keys, board: Board, sent_task: Send) -> None:
    bench = Bench(redis, keys, board, units=0)
    bench.draining.start()
    bench.room.enter(1, lambda: bench.go.acquire(timeout=60))
    bench.room.wait_for_room(lambda: not bench.draining.requested)
    assert bench.room.units == 1
    bench.go.release()
    assert bench.room.wait_until_empty(60)
    bench.leases.close()


def test_log_lines_of_both_threads_name_the_attempt(bench: Bench, sent_task: Send) -> None:
    seen: list[tuple[str, dict[str, Any]]] = []

    def note(place: str) -> None:
        seen.append((place, structlog.contextvars.get_contextvars()))

    def draw(spec: JobSpec, task: UnitTask, lease: Lease) -> Finishing:
        bench.leased.append(lease)
        note("draw")
        return Finishing(lambda: note("finish"))

    bench.runner.run(sent_task(3), draw, bench.ends.append)
    until(lambda: bench.ends == [Outcome.DONE])
    attempt = bench.leased[0].attempt
    assert [place for place, _ in seen] == ["draw", "finish"]
    for _, names in seen:
        assert names == {"job": JOB, "unit": 3, "stage": "render", "attempt": attempt}
    assert structlog.contextvars.get_contextvars() == {}


def test_a_pause_lets_a_drawn_unit_finish_and_a_cancel_does_not(bench: Bench, sent_task: Send) -> None:
    bench.run(sent_task())
    bench.store.put(layout.pause(JOB), b"{}")
    bench.flags.refresh(JOB)
    (lease,) = bench.leased
    lease._polled = float("-inf")
    lease.check(drawn=True)
    lease._polled = float("-inf")
    with pytest.raises(UnitInterrupted, match="paused"):
        lease.check()
    bench.store.put(layout.cancel(JOB), b"{}")
    bench.flags.refresh(JOB)
    lease._polled = float("-inf")
    with pytest.raises(UnitInterrupted, match="cancelled"):
        lease.check(drawn=True)
    bench.go.release()


@pytest.mark.parametrize("in_time", [True, False])
def test_a_worker_that_stops_waits_for_what_finishes_and_hands_back_what_hangs(
    redis: Redis,
    redis_settings: RedisSettings,
    keys: Keys,
    board: Board,
    sent_task: Send,
    monkeypatch: pytest.MonkeyPatch,
    in_time: bool,
) -> None:
    go, ends = threading.Event(), list[Outcome]()
    worker = WorkerProcess(
        submitted(),
        worker_info("render"),
        redis_settings=redis_settings,
        faults=Faults(),
        grace_seconds=60 if in_time else 0.5,
        finishing=FinishingRoom(units=2, size=100),
    )

    def draw(spec: JobSpec, task: UnitTask, lease: Lease) -> Finishing:
        return Finishing(lambda: go.wait(60))  # type: ignore[arg-type, return-value]

    def consume(app: Any, *, queues: Sequence[str], **_: object) -> int:
        app.tasks[RENDER_TASK](sent_task(0).model_dump(mode="json"))
        until(lambda: any(info.units == (f"{JOB}/0",) for info in live_workers(redis, keys)))
        if in_time:  # after the broker was lost and this has returned
            threading.Timer(0.2, go.set).start()
        return 75

    monkeypatch.setattr(process, "run_worker", consume)
    worker.take(RENDER_TASK, draw, lambda outcome, seconds: ends.append(outcome))
    assert worker.run(["render.collage-s.normal"], pool="solo") == 75
    assert ends == ([Outcome.DONE] if in_time else [])
    assert board.flight.claims(JOB) == {}
    assert not redis.exists(keys.lease(JOB, 0, "render"))
    assert len(board.flight.sent(JOB)) == (1 if in_time else 0), "handed back: the feeder sends it at once"
    go.set()
    until(lambda: len(ends) == 1)
