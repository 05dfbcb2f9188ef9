"""Counters against a model: whatever is marked, how often and in which order, each unit counts once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from redis import Redis

from synfarm.contracts.layout import FAN
from synfarm.contracts.manifests import Counts
from synfarm.contracts.renders import Stage
from synfarm.queue.board import Board
from synfarm.queue.clock import ManualClock
from synfarm.queue.keys import Keys

pytestmark = pytest.mark.integration

JOB = "01jd0000000000000000000000"
UNITS = [*range(FAN - 3, FAN + 3)]  # on both sides of a bitmap's border


def counts(unit: int) -> Counts:
    return Counts(units_committed=1, captions=unit, images=2 * unit, empty=1, bytes=3 * unit)


def seed(board: Board, watermark: int = 0, sums: Counts | None = None) -> None:
    sums = sums or Counts()
    board.seed(JOB, "e", watermark=watermark, frontier=2 * FAN, counts=sums, draws=0, rejections={})


def test_marks_before_seeding_count_nothing(board: Board) -> None:
    assert not board.mark_committed(JOB, 0, counts(0))
    seed(board)
    assert board.mark_committed(JOB, 0, counts(0))
    assert not board.mark_committed(JOB, 0, counts(0))


def test_racing_marks_count_once(board: Board) -> None:
    seed(board)
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda unit: board.mark_committed(JOB, unit, counts(unit)), UNITS * 20))
    assert sum(won) == len(UNITS)
    assert board.counters(JOB).counts.images == sum(2 * unit for unit in UNITS)


def test_faults_that_come_together_are_one_outage(board: Board, clock: ManualClock) -> None:
    for _ in range(16):
        board.environment_fault(JOB, Stage.CAPTION, "the LLM is away")
    assert board.counters(JOB).stalls[Stage.CAPTION].faults == 1
    clock.advance(5)
    board.environment_fault(JOB, Stage.CAPTION, "the LLM is away")
    assert board.counters(JOB).stalls[Stage.CAPTION].faults == 2
    board.succeeded(JOB, Stage.CAPTION)
    assert board.counters(JOB).stalled is None


class Marks(RuleBasedStateMachine):
    """Workers and feeders mark in any order; memory is lost and rebuilt from the model, as from the store."""

    board: Board
    redis: Any

    def __init__(self) -> None:
        super().__init__()
        self.redis.flushall()
        self.committed: set[int] = set()
        self.dead: set[int] = set()
        self.written: set[int] = set()
        self.watermark = UNITS[0]
        seed(self.board, self.watermark)

    @rule(unit=st.sampled_from(UNITS))
    def commit(self, unit: int) -> None:
        if unit >= self.watermark:
            self.committed.add(unit)
            self.dead.discard(unit)
        self.board.mark_committed(JOB, unit, counts(unit))

    @rule(unit=st.sampled_from(UNITS))
    def die(self, unit: int) -> None:
        if unit >= self.watermark and unit not in self.committed:
            self.dead.add(unit)
        self.board.mark_dead(JOB, unit)

    @rule(unit=st.sampled_from(UNITS))
    def write(self, unit: int) -> None:
        if unit >= self.watermark:
            self.written.add(unit)
        self.board.mark_written(JOB, unit, 5, 7, {"too_short": 2})

    @rule()
    def advance(self) -> None:
        old = self.watermark
        while self.watermark in self.committed | self.dead:
            self.watermark += 1
        self.board.advance(JOB, old, self.watermark)

    @rule()
    def lose_and_rebuild(self) -> None:
        self.redis.flushall()
        below = Counts(units_dead=len([u for u in self.dead if u < self.watermark]))
        for unit in sorted(u for u in self.committed if u < self.watermark):
            below = below + counts(unit)
        seed(self.board, self.watermark, below)
        self.written = {u for u in self.written if u >= self.watermark}
        for unit in [u for u in UNITS if u >= self.watermark]:
            if unit in self.committed:
                self.board.mark_committed(JOB, unit, counts(unit))
            if unit in self.dead:
                self.board.mark_dead(JOB, unit)
        self.base_written = below.captions
        self.lost = True
        for unit in self.written:
            self.board.mark_written(JOB, unit, 5, 7, {"too_short": 2})

    lost = False
    base_written = 0

    @invariant()
    def agrees(self) -> None:
        got = self.board.counters(JOB)
        want = Counts(units_dead=len(self.dead))
        for unit in self.committed:
            want = want + counts(unit)
        assert got.counts == want
        if not self.lost:
            assert (got.written, got.draws) == (5 * len(self.written), 7 * len(self.written))
            assert got.rejections == ({"too_short": 2 * len(self.written)} if self.written else {})

    @invariant()
    def keeps_no_bitmap_below_the_watermark(self) -> None:
        if self.watermark >= FAN:
            assert not self.redis.exists(Keys("test").bits(JOB, "committed", 0))


@pytest.fixture
def machine(redis: Redis, board: Board) -> type[Marks]:
    class Bound(Marks):
        pass

    Bound.board, Bound.redis = board, redis
    return Bound


def test_counters_agree_with_a_model_of_the_store(machine: type[Marks]) -> None:
    quick = settings(
        max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck), database=None
    )
    run_state_machine_as_test(machine, settings=quick)
