"""What a claimed unit leaves behind: one JSONL, one message to the renderers, counts; at every crash and race."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest
from redis import Redis

from synfarm.contracts import layout
from synfarm.contracts.captions import read_jsonl
from synfarm.contracts.jobs import JobSpec
from synfarm.contracts.manifests import Counts
from synfarm.contracts.renders import Stage, UnitTask
from synfarm.faults import FaultInjected, Faults
from synfarm.queue.app import make_app
from synfarm.queue.board import Board
from synfarm.queue.clock import RedisClock
from synfarm.queue.dispatch import Dispatcher
from synfarm.queue.keys import Keys
from synfarm.queue.lease import UnitInterrupted
from synfarm.settings import RedisSettings
from synfarm.storage.memory import MemoryStore
from synfarm_caption_api.caption_work import CaptionWork
from synfarm_caption_api.loop_thread import LoopThread
from synfarm_caption_api.prompts.pools import load_pools
from synfarm_caption_api.text_generator import FakeGenerator

pytestmark = pytest.mark.integration
KEYS = Keys("test")
JOB = "01k" + "0" * 23
Make = Callable[..., JobSpec]


class Claim:
    """A lease that counts, and that may be lost."""

    def __init__(self) -> None:
        self.beats = 0
        self.fault: Exception | None = None

    def progress(self) -> None:
        self.beats += 1

    def check(self) -> None:
        if self.fault:
            raise self.fault


class Bench:
    def __init__(self, redis: Redis, redis_url: str, loop: LoopThread) -> None:
        self.redis, self.loop, self.store = redis, loop, MemoryStore()
        self.board = Board(redis, KEYS, RedisClock(redis))
        self.dispatcher = Dispatcher(make_app(RedisSettings(url=redis_url, namespace="test")), self.board)
        self.generator = FakeGenerator()
        # Marks count from when the feeder has set the counters up.
        self.board.seed(JOB, "e", watermark=0, frontier=0, counts=Counts(), draws=0, rejections={})

    def work(self, faults: str = "") -> CaptionWork:
        return CaptionWork(
            store=self.store,
            board=self.board,
            dispatcher=self.dispatcher,
            generator=self.generator,
            loop=self.loop,
            pools=load_pools(),
            faults=Faults(faults),
        )

    @property
    def sent(self) -> int:
        return int(self.redis.llen(KEYS.queue("render.collage-s.normal")))


@pytest.fixture
def bench(redis: Redis, redis_url: str) -> Iterator[Bench]:
    loop = LoopThread()
    yield Bench(redis, redis_url, loop)
    loop.close()


def task_of(spec: JobSpec, unit: int = 1) -> UnitTask:
    return UnitTask(job=spec.job, unit=unit, stage=Stage.CAPTION, queue="caption.normal", sequence=1)


def test_a_unit_is_written_sent_and_counted_once(bench: Bench, make_spec: Make) -> None:
    spec, claim = make_spec(), Claim()
    bench.work()(spec, task_of(spec), claim)
    records = read_jsonl(bench.store.get(layout.captions(spec.job, 1)))
    assert [record.index for record in records] == list(range(8, 16))
    assert (bench.sent, claim.beats) == (1, 8)
    counters = bench.board.counters(spec.job)
    assert (counters.written, counters.draws) == (8, 8)
    bench.work()(spec, task_of(spec), claim)  # the message came twice: sent on, nothing asked or counted again
    assert (bench.sent, bench.generator.calls) == (2, 8)
    assert bench.board.counters(spec.job).draws == 8


def test_a_crash_between_jsonl_and_send_pays_for_no_generation_twice(
    bench: Bench, make_spec: Make, tmp_path: object
) -> None:
    spec = make_spec()
    with pytest.raises(FaultInjected):
        bench.work(f"caption.after_jsonl:unit=1:raise:{tmp_path}/fallen")(spec, task_of(spec), Claim())
    assert bench.sent == 0
    kept = bench.store.get(layout.captions(spec.job, 1))
    bench.work()(spec, task_of(spec), Claim())
    assert (bench.sent, bench.generator.calls) == (1, 8)
    assert bench.store.get(layout.captions(spec.job, 1)) == kept
    assert bench.board.counters(spec.job).written == 8


def test_a_crash_before_the_jsonl_leaves_nothing(bench: Bench, make_spec: Make, tmp_path: object) -> None:
    spec = make_spec()
    with pytest.raises(FaultInjected):
        bench.work(f"caption.before_jsonl:raise:{tmp_path}/fallen")(spec, task_of(spec), Claim())
    assert bench.store.head(layout.captions(spec.job, 1)) is None
    assert bench.sent == 0


def test_who_comes_second_uses_the_first_one_s_texts(bench: Bench, make_spec: Make) -> None:
    spec, other = make_spec(), Bench(bench.redis, "redis://127.0.0.1:1/0", bench.loop)
    other.store, other.dispatcher = bench.store, bench.dispatcher
    other.generator = FakeGenerator(lambda concept, seed: f"a black {concept} in the snow {seed}")
    bench.generator = FakeGenerator(delay=0.3)
    slow = threading.Thread(target=bench.work(), args=(spec, task_of(spec), Claim()))
    slow.start()
    time.sleep(0.05)
    other.work()(spec, task_of(spec), Claim())
    won = bench.store.get(layout.captions(spec.job, 1))
    slow.join()
    assert bench.generator.calls == 8  # it did generate, and lost
    assert bench.store.get(layout.captions(spec.job, 1)) == won
    assert bench.board.counters(spec.job).written == 8


def test_units_overlap_on_the_one_loop(bench: Bench, make_spec: Make) -> None:
    spec = make_spec()
    bench.generator = FakeGenerator(delay=1)
    work = bench.work()
    threads = [threading.Thread(target=work, args=(spec, task_of(spec, unit), Claim())) for unit in (0, 1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert bench.sent == 3
    assert bench.generator.peak > 8


def test_a_lost_lease_ends_the_requests(bench: Bench, make_spec: Make) -> None:
    spec, claim = make_spec(), Claim()
    bench.generator = FakeGenerator(delay=60)
    claim.fault = RuntimeError("lost")
    with pytest.raises(RuntimeError, match="lost"):
        bench.work()(spec, task_of(spec), claim)
    deadline = time.monotonic() + 60
    while bench.generator.in_flight and time.monotonic() < deadline:
        time.sleep(0.01)
    assert bench.generator.in_flight == 0
    assert bench.store.head(layout.captions(spec.job, 1)) is None


def test_captions_of_a_deleted_job_are_not_written(bench: Bench, make_spec: Make) -> None:
    spec = make_spec()
    bench.store.create(layout.tombstone(spec.job), b"{}")
    with pytest.raises(UnitInterrupted, match="deleted"):
        bench.work()(spec, UnitTask(job=spec.job, unit=0, stage=Stage.CAPTION, queue="q", sequence=1), Claim())
    assert bench.store.head(layout.captions(spec.job, 0)) is None
    assert bench.sent == 0
