"""The order of a run with several streams and legs against a slow loop that keeps its state."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synfarm.contracts.ids import caption_id
from synfarm_trainer.data.course import Course, Leg, Standing, Stream
from synfarm_trainer.data.growth import part_of
from synfarm_trainer.data.mixture import Shares
from synfarm_trainer.data.plan import GroupTable, Plan

JOB = "01hzzzzzzzzzzzzzzzzzzzzzz0"
BATCH = 4


def table(groups: int) -> GroupTable:
    ids = [caption_id(JOB, 3 * i) for i in range(groups)]
    return GroupTable.build(ids, [i // 5 for i in range(groups)], [f"c{i % 3}" for i in range(groups)])


def stream(of: GroupTable, rows: list[int], begins: Standing = Standing(0, 0)) -> Stream:  # noqa: B008 - frozen
    """``rows`` are those of whole shards, of five rows each."""
    part, whole = part_of(of, np.unique(of.shard[np.array(rows)]), np.zeros(of.shards, dtype=np.int64))
    assert whole[:].tolist() == rows
    return Stream(Plan(part, 5, 0, 2, 0.2), whole, begins)


def course(of: GroupTable, legs: list[Leg]) -> Course:
    groups = [sum(s.groups for s in leg.streams) for leg in legs]
    borders = [leg.begins for leg in legs]
    return Course(of, 5, borders, legs.__getitem__, groups, captions_per_batch=BATCH, cell_captions=1)


class SlowStream:
    """Takes one caption after another and counts its epochs."""

    def __init__(self, of: Stream) -> None:
        self.of, self.epoch, self.offset = of, of.begins.epoch, of.begins.offset

    def following(self) -> tuple[int, int]:
        order = self.of.plan.epoch_order(self.epoch)
        found = int(self.of.rows[order[self.offset]]), self.epoch
        self.offset += 1
        if self.offset == len(order):
            self.epoch, self.offset = self.epoch + 1, 0
        return found


def slow(leg: Leg, positions: int) -> tuple[list[tuple[int, int]], list[list[int]]]:
    """(row, epoch) of each position, and the positions before which each stream's epochs have ended."""
    streams, found = [SlowStream(s) for s in leg.streams], []
    ends: list[list[int]] = [[] for _ in streams]
    for n, of in enumerate(leg.shares.locate(np.arange(positions))[0].tolist()):
        found.append(streams[of].following())
        if streams[of].offset == 0:
            ends[of].append(leg.begins + n + 1)
    return found, ends


legs = st.tuples(
    st.lists(st.tuples(st.integers(1, 5), st.sampled_from([15, 20, 30]), st.integers(0, 3)), min_size=1, max_size=4),
    st.integers(0, 50),
)


def built(drawn: tuple[list[tuple[int, int, int]], int]) -> tuple[GroupTable, Leg]:
    parts, begins = drawn
    of = table(sum(size for _, size, _ in parts))
    starts = np.cumsum([0, *(size for _, size, _ in parts)]).tolist()
    streams = tuple(
        stream(of, list(range(start, start + size)), Standing(ahead, ahead))
        for start, (_, size, ahead) in zip(starts, parts, strict=False)
    )
    return of, Leg(begins, Shares(tuple(weight for weight, _, _ in parts)), streams)


@given(legs)
@settings(max_examples=40, deadline=None)
def test_a_leg_is_what_a_loop_with_state_would_take(drawn: tuple[list[tuple[int, int, int]], int]) -> None:
    _, leg = built(drawn)
    expected, ends = slow(leg, 150)
    rows, epochs = leg.take(np.arange(leg.begins, leg.begins + 150))
    assert list(zip(rows.tolist(), epochs.tolist(), strict=True)) == expected
    for number, of_stream in enumerate(ends):
        position, found = leg.begins, []
        while (position := leg.end_after(number, position)) <= leg.begins + 150:
            found.append(position)
            stands = leg.standings(position)[number]
            assert stands == Standing(leg.streams[number].begins.epoch + len(found), 0)
        assert found == of_stream


def test_one_stream_whose_epochs_fill_batches_is_the_plan_itself() -> None:
    of = table(60)
    plan = Plan(of, 5, BATCH, 2, 0.2)
    assert plan.groups % BATCH == 0
    alone = course(of, [Leg(0, Shares((3,)), (stream(of, list(range(60))),))])
    for step in range(30):
        assert alone.batch(step).tolist() == plan.batch(step).tolist()
        assert set(alone.epochs(step).tolist()) == {plan.epoch_of(step)}
        assert alone.passes(step) == pytest.approx(plan.passes(step))
    assert alone.held.tolist() == plan.held.tolist()
    assert alone.rank_slice(1, 2) == plan.rank_slice(1, 2)


def test_a_batch_across_a_border_takes_from_both_legs() -> None:
    of = table(60)
    first = Leg(0, Shares((1, 2)), (stream(of, list(range(20))), stream(of, list(range(20, 40)))))
    border = first.end_after(0, 0)
    stands = first.standings(border)
    second = Leg(
        border,
        Shares((1, 2)),
        (stream(of, [*range(20), *range(40, 60)], stands[0]), replace(first.streams[1], begins=stands[1])),
    )
    assert stands[0] == Standing(1, 0)
    assert border % BATCH, "inside a batch"
    whole = course(of, [first, second])
    before, _ = slow(first, border)
    after, _ = slow(second, 100)
    expected = [*before, *after]
    for step in range(20):
        taken = list(zip(whole.batch(step).tolist(), whole.epochs(step).tolist(), strict=True))
        assert taken == expected[step * BATCH : (step + 1) * BATCH]
    steps = [whole.passes(step) for step in range(20)]
    assert steps == sorted(steps)
    assert steps[15] == pytest.approx(
        border / sum(s.groups for s in first.streams) + (60 - border) / sum(s.groups for s in second.streams)
    )
    assert course(of, [first]).batch(0).tolist() == whole.batch(0).tolist()


@given(st.integers(1, 4), st.sampled_from([5, 10, 20]), st.integers(0, 12))
@settings(max_examples=30, deadline=None)
def test_ranks_in_order_make_the_batch(weight: int, groups: int, step: int) -> None:
    of = table(groups + 20)
    leg = Leg(0, Shares((weight, 2)), (stream(of, list(range(groups))), stream(of, list(range(groups, groups + 20)))))
    whole = course(of, [leg])
    parts = [whole.batch(step)[whole.rank_slice(rank, 2)] for rank in range(2)]
    assert np.concatenate(parts).tolist() == whole.batch(step).tolist()


def test_a_part_of_a_table_has_its_groups_and_strata_of_its_own() -> None:
    of = table(45)
    strata = np.array([0, 0, 1, 1, 2, 2, 0, 1, 2])
    part, rows = part_of(of, np.array([1, 3, 4, 8]), strata)
    expected = [row for shard in (1, 3, 4, 8) for row in range(5 * shard, 5 * shard + 5)]
    assert rows[:].tolist() == expected
    assert part.index[:].tolist() == of.index[np.array(expected)].tolist()
    assert part.job[:].tolist() == of.job[np.array(expected)].tolist()
    assert part.shard[:].tolist() == [place for place in range(4) for _ in range(5)]
    pairs = [(int(strata[row // 5]), int(of.concept[row])) for row in expected]
    told = part.concept.tolist()
    assert len({*zip(pairs, told, strict=True)}) == len(set(pairs)) == len(set(told))
