"""Captions read ahead: each once, none taken from the queue, and a wrong or failed guess changes nothing."""

from __future__ import annotations

import random
import threading

import pytest
from redis.exceptions import RedisError

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.jobs import Concept, JobSpec
from synfarm.contracts.renders import Stage, UnitTask
from synfarm.queue.specs import SpecCache
from synfarm.storage.memory import MemoryStore
from synfarm.storage.protocol import ObjectMissing, StoreUnavailable
from synfarm_render_worker.device_clock import DeviceClock
from synfarm_render_worker.prefetch import CaptionPrefetch

JOB = "01jd0000000000000000000000"


def task(unit: int) -> UnitTask:
    return UnitTask(job=JOB, unit=unit, stage=Stage.RENDER, queue="render.collage-s.normal", sequence=unit)


class Bench:
    def __init__(self, units: int = 40) -> None:
        self.store, self.gets, self.waiting = MemoryStore(), list[str](), [task(unit) for unit in range(units)]
        spec = JobSpec(
            job=JOB,
            owner="me",
            created_at=utc_now(),
            concepts=(Concept(name="cat"),),
            captions=units,
            captions_per_unit=1,
        )
        self.store.create(layout.job(JOB), spec.to_bytes())
        for unit in range(units):
            self.store.create(layout.captions(JOB, unit), b"%d" % unit)
        self.store.fault = self.note
        self.seen: list[bool] = []
        self.there: list[bool] = []
        self.away = False
        self.prefetch = self.new()

    def new(self, size: int = 1000) -> CaptionPrefetch:
        return CaptionPrefetch(
            self.store, SpecCache(self.store), self.next, size=size, seen=self.seen.append, read=self.there.append
        )

    def note(self, operation: str, key: str) -> None:
        if operation == "get" and key.endswith(".jsonl"):
            self.gets.append(key)

    def next(self, count: int) -> list[UnitTask]:
        if self.away:
            raise RedisError("away")
        return self.waiting[:count]


def test_what_waits_is_read_once_and_only_the_rest_from_the_store() -> None:
    bench = Bench()
    for _ in range(3):
        bench.prefetch.look()
    assert bench.gets == [layout.captions(JOB, unit) for unit in range(4)]
    assert [bench.prefetch.captions(task(unit)) for unit in (2, 0, 9)] == [b"2", b"0", b"9"]
    assert bench.there == [True, True, False]
    assert len(bench.gets) == 5
    assert bench.prefetch.captions(task(2)) == b"2", "it is given away once, and read again if asked again"
    assert bench.there[-1] is False


def test_room_is_bounded_in_units_and_in_bytes() -> None:
    bench = Bench()
    for _ in range(8):
        bench.prefetch._guesses = 4
        bench.prefetch.look()
        del bench.waiting[:4]  # other workers take them
    assert len(bench.prefetch._kept) == 8
    assert bench.prefetch.captions(task(31)) == b"31"
    small = bench.new(size=1)
    bench.waiting[:] = [task(0)]
    small.look()
    bench.waiting[:] = [task(1)]
    small.look()
    assert list(small._kept) == [(JOB, 0)]


def test_a_failed_guess_is_asked_again_when_it_is_its_turn() -> None:
    bench = Bench()

    def down(operation: str, key: str) -> None:
        raise StoreUnavailable(key)

    bench.store.fault = down
    bench.prefetch.look()
    bench.store.fault = None
    assert bench.prefetch.captions(task(0)) == b"0"
    bench.store.delete(layout.captions(JOB, 1))
    with pytest.raises(ObjectMissing):
        bench.prefetch.captions(task(1))
    bench.away = True
    bench.prefetch.look()
    assert bench.seen == [True]


def test_a_spec_that_cannot_be_read_costs_its_own_unit_alone() -> None:
    bench = Bench()
    bench.store.delete(layout.job(JOB))
    bench.store.create(layout.job(JOB), b"damaged")
    bench.prefetch.look()
    assert [bench.prefetch.captions(task(unit)) for unit in (0, 3)] == [b"0", b"3"], "nobody waits for what never comes"


def test_a_unit_that_comes_before_its_captions_waits_for_them_and_asks_no_second_time() -> None:
    bench, entered, go = Bench(), threading.Event(), threading.Event()

    def slow(operation: str, key: str) -> None:
        bench.note(operation, key)
        if key == layout.captions(JOB, 0):
            entered.set()
            assert go.wait(60)

    bench.store.fault = slow
    got: list[bytes] = []
    bench.prefetch.start()
    with bench.prefetch.unit():
        assert entered.wait(60)
        thread = threading.Thread(target=lambda: got.append(bench.prefetch.captions(task(1))))
        thread.start()
        go.set()
        thread.join(60)
    assert got == [b"1"]
    assert bench.gets.count(layout.captions(JOB, 1)) == 1
    bench.prefetch.stop()


def test_the_captions_of_a_claimed_unit_are_read_while_the_worker_asks_other_things() -> None:
    bench, read = Bench(), threading.Event()
    bench.prefetch.claimed(task(7))  # nobody reads yet
    assert bench.prefetch.captions(task(7)) == b"7"
    bench.prefetch.start()

    def note(operation: str, key: str) -> None:
        bench.note(operation, key)
        if key == layout.captions(JOB, 9):
            read.set()

    bench.store.fault = note
    bench.prefetch.claimed(task(9))
    assert read.wait(60)
    assert bench.prefetch.captions(task(9)) == b"9"
    assert bench.gets == [layout.captions(JOB, 7), layout.captions(JOB, 9)], "once, and nothing is guessed meanwhile"
    bench.store.delete(layout.captions(JOB, 3))
    bench.prefetch.claimed(task(3))
    with pytest.raises(ObjectMissing):
        bench.prefetch.captions(task(3))
    bench.prefetch.stop()


def test_nobody_waits_for_a_thread_that_has_ended() -> None:
    bench, entered, go = Bench(), threading.Event(), threading.Event()

    def slow(operation: str, key: str) -> None:
        entered.set()
        assert go.wait(60)

    bench.store.fault = slow
    bench.prefetch.start()
    bench.prefetch.claimed(task(0))
    assert entered.wait(60)
    bench.prefetch.claimed(task(1))
    bench.prefetch.stop()
    bench.store.fault = None
    go.set()
    assert bench.prefetch.captions(task(1)) == b"1"
    bench.prefetch.claimed(task(2))
    assert bench.prefetch.captions(task(2)) == b"2"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_nobody_waits_for_a_thread_that_broke() -> None:
    bench, got = Bench(), list[bytes]()

    def broken(operation: str, key: str) -> None:
        raise LookupError("a defect")

    bench.store.fault = broken
    bench.prefetch.start()
    with bench.prefetch.unit():
        bench.prefetch._thread.join(60)
    bench.store.fault = None
    waiting = threading.Thread(target=lambda: got.append(bench.prefetch.captions(task(3))), daemon=True)
    waiting.start()
    waiting.join(20)
    assert got == [b"3"]


def test_the_device_clock_counts_waiting_messages_and_units_and_not_an_empty_queue() -> None:
    now = [0.0]
    clock = DeviceClock(lambda: now[0])

    def passes(seconds: float) -> None:
        now[0] += seconds

    passes(100)  # nothing to do
    assert clock.seconds() == (0, 0)
    assert clock.idle_share == 0
    with clock.unit():
        passes(1)  # captions, model
        with clock.drawing():
            passes(6)
        clock.waiting(True)
        passes(1)
    passes(2)  # from one message to the next
    with clock.unit(), clock.drawing():
        passes(6)
        clock.waiting(False)
    passes(50)
    assert clock.seconds() == (16, 12)
    assert clock.idle_share == pytest.approx(0.25)


class Farm:
    """Workers at one queue. Between two messages that are taken all have looked, as they do while long units last."""

    def __init__(self, workers: int, units: int) -> None:
        self.bench = Bench(units)
        self.workers = [self.bench.new(size=1_000_000) for _ in range(workers)]

    def draw(self) -> float:
        """Draw all; how many captions objects were read for each unit."""
        units, turns = len(self.bench.waiting), random.Random(7)
        for _ in range(units):
            for worker in self.workers:
                worker.look()
            task = self.bench.waiting.pop(0)
            assert turns.choice(self.workers).captions(task) == b"%d" % task.unit
        return len(self.bench.gets) / units


def test_one_worker_reads_each_unit_once_and_ahead() -> None:
    farm = Farm(1, 200)
    assert farm.draw() == 1
    assert all(farm.bench.there)


@pytest.mark.parametrize("workers", [2, 8, 64])
def test_what_is_read_ahead_for_nothing_does_not_grow_with_the_workers(workers: int) -> None:
    assert Farm(workers, 2000).draw() < 1.4 + 4 * workers / 2000
