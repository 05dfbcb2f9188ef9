"""The order of training as a pure function."""

from __future__ import annotations

import numpy as np
import pytest
import slow_plan
from hypothesis import given, settings
from hypothesis import strategies as st

from synfarm.contracts.ids import caption_id
from synfarm.contracts.purposes import Purpose
from synfarm.contracts.randomness import bits, key_of
from synfarm_trainer.data import held_out as held_out_module
from synfarm_trainer.data import imageset
from synfarm_trainer.data.held_out import held_out_set
from synfarm_trainer.data.plan import GroupTable, Plan

JOB = "01hzzzzzzzzzzzzzzzzzzzzzz0"


def table(groups: int, per_shard: int, concepts: int) -> GroupTable:
    ids = [caption_id(JOB, 3 * i) for i in range(groups)]
    return GroupTable.build(ids, [i // per_shard for i in range(groups)], [f"c{i % concepts}" for i in range(groups)])


def held_out_rows(of: GroupTable, seed: int, share: float) -> np.ndarray:
    return held_out_set(of, seed, share).unpack(0, len(of))


plans = st.builds(
    lambda groups, per_shard, concepts, seed, batch, block: Plan(
        table(groups, per_shard, concepts), seed, batch, block, 0.2
    ),
    groups=st.integers(30, 120),
    per_shard=st.integers(1, 17),
    concepts=st.integers(1, 9),
    seed=st.integers(0, 2**63 - 1),
    batch=st.sampled_from([2, 6, 12]),
    block=st.integers(1, 8),
)


@given(plans, st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_an_epoch_visits_every_training_group_once_and_no_held_out_one(plan: Plan, epoch: int) -> None:
    order = plan.epoch_order(epoch)
    assert sorted(order.tolist()) == np.flatnonzero(~plan.held).tolist()


@given(plans, st.integers(0, 40))
@settings(max_examples=40, deadline=None)
def test_a_batch_depends_on_its_step_alone_and_ranks_share_it_out(plan: Plan, step: int) -> None:
    batch = plan.batch(step)
    again = Plan(plan.table, plan.seed, plan.captions_per_batch, plan.block_shards, plan.held_out)
    assert again.batch(step).tolist() == batch.tolist()
    for world in (1, 2):
        parts = [batch[plan.rank_slice(rank, world)] for rank in range(world)]
        assert np.concatenate(parts).tolist() == batch.tolist()


@given(plans)
@settings(max_examples=30, deadline=None)
def test_steps_of_an_epoch_are_disjoint_and_drop_less_than_a_batch(plan: Plan) -> None:
    per_epoch = plan.steps_per_epoch
    seen = np.concatenate([plan.batch(per_epoch + step) for step in range(per_epoch)])
    assert len(set(seen.tolist())) == len(seen)
    assert plan.groups - len(seen) < plan.captions_per_batch
    assert {plan.epoch_of(per_epoch + step) for step in range(per_epoch)} == {1}


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    plan = Plan(table(100, 8, 5), 1, 10, 4, 0.2)
    orders = [plan.epoch_order(0), plan.epoch_order(1), Plan(plan.table, 2, 10, 4, 0.2).epoch_order(0)]
    assert len({tuple(order.tolist()) for order in orders}) == 3


def test_a_block_holds_only_its_shards() -> None:
    plan = Plan(table(96, 8, 4), 3, 8, 2, 0.25)
    shards = plan.table.shard[plan.epoch_order(0)]
    changes = np.flatnonzero(np.diff([len(set(shards[: i + 1])) for i in range(len(shards))])) + 1
    assert len(changes) == 11, "each shard is first met once"
    for start in changes[1::2]:
        assert not set(shards[:start]) & set(shards[start:])


@given(st.integers(2, 60), st.integers(1, 6), st.floats(0.05, 0.9), st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_held_out_captions_are_stratified(groups: int, concepts: int, share: float, seed: int) -> None:
    of = table(groups, 4, concepts)
    held = held_out_rows(of, seed, share)
    for concept in set(of.concept.tolist()):
        members = held[of.concept == concept]
        if len(members) == 1:
            assert not members.any()
        else:
            assert 1 <= members.sum() < len(members)
            assert abs(members.sum() - share * len(members)) <= 1


def test_held_out_captions_do_not_depend_on_what_else_is_there_of_other_concepts() -> None:
    small, large = table(40, 4, 4), table(40, 10, 4)
    assert held_out_rows(small, 5, 0.2).tolist() == held_out_rows(large, 5, 0.2).tolist()


def drawn_table(seed: int, shards: int, most: int, concepts: int, jobs: int) -> GroupTable:
    """Shards of any sizes, empty ones too, of some jobs; indices with gaps; a few concepts have most of the groups."""
    draw = np.random.default_rng(seed)
    sizes = draw.integers(0, most + 1, shards)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    offsets = [np.sort(draw.choice(2 * most, size, replace=False)) for size in sizes]
    return GroupTable(
        jobs=draw.integers(1, 2**62, jobs),
        shard_job=np.sort(draw.integers(0, jobs, shards)).astype(np.uint8),
        base=np.arange(shards, dtype=np.int64) * 2 * most,
        starts=starts,
        offset=np.concatenate(offsets).astype(np.uint16),
        concept=(draw.random(starts[-1]) ** 2 * concepts).astype(np.uint16),
    )


@pytest.mark.parametrize("spread", [0.0, 0.5, 5.0])
@pytest.mark.parametrize("chunk", [8, 64, 1 << 16])
def test_plan_and_held_out_groups_are_those_of_arrays_over_all_groups(
    monkeypatch: pytest.MonkeyPatch, chunk: int, spread: float
) -> None:
    """Also where a concept's border lies elsewhere than was expected, so that it is passed again."""
    monkeypatch.setattr(held_out_module, "_CHUNK", chunk)
    monkeypatch.setattr(held_out_module, "_SPREAD", spread)
    for seed, (shards, most, concepts, jobs) in enumerate([(9, 12, 3, 1), (200, 12, 23, 3), (60, 90, 2, 2)]):
        of, share = drawn_table(seed, shards, most, concepts, jobs), (0.2, 0.07, 0.9)[seed]
        job, index, shard = of.job[:], of.index[:], of.shard[:]
        held = slow_plan.held_out(job, index, of.concept.astype(np.int64), seed, share)
        assert held_out_rows(of, seed, share).tolist() == held.tolist()
        plan = Plan(of, seed, 4, 5, share)
        order = slow_plan.epoch_order(job, index, shard, held, seed, 5, 1)
        assert plan.epoch_order(1).tolist() == order.tolist()
        for step in (0, plan.steps_per_epoch // 2, plan.steps_per_epoch - 1):
            assert plan.batch(plan.steps_per_epoch + step).tolist() == order[4 * step : 4 * step + 4].tolist()


@pytest.mark.parametrize("limit", [1, 7, 10_000])
def test_evaluations_choose_the_same_rows_however_many_are_hashed_at_a_time(
    monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    plan = Plan(drawn_table(4, 50, 12, 6, 2), 3, 4, 5, 0.3)
    draw = bits(key_of(3, Purpose.HELD_OUT), plan.table.job[:], plan.table.index[:], 1)
    for held_out in (True, False):
        rows = np.flatnonzero(plan.held == held_out)
        expected = sorted(rows[np.argsort(draw[rows], kind="stable")][:limit].tolist())
        for chunk in (8, 1 << 16):
            monkeypatch.setattr(imageset, "_CHUNK", chunk)
            assert imageset.choose_rows(plan, held_out=held_out, limit=limit) == expected


def test_equal_hashes_are_told_apart_by_job_and_index(monkeypatch: pytest.MonkeyPatch) -> None:
    def same(key: int, job: object, index: np.ndarray, *more: int) -> np.ndarray:
        return np.zeros(len(index), dtype=np.int64)

    monkeypatch.setattr(held_out_module, "bits", same)
    assert np.flatnonzero(held_out_rows(table(20, 4, 2), 0, 0.3)).tolist() == list(range(6))


def test_a_table_reads_by_rows_masks_slices_and_as_an_array() -> None:
    of = drawn_table(3, 40, 7, 4, 3)
    index = np.asarray(of.index)
    assert len(of.index) == len(of) == len(index)
    assert of.index[5] == index[5]
    assert of.index[3:9].tolist() == index[3:9].tolist()
    assert of.index[index % 2 == 0].tolist() == index[index % 2 == 0].tolist()
    assert [*of.shard][:9] == of.shard[:9].tolist()
    job, those = of.ids(11, 37)
    assert np.broadcast_to(job, 26).tolist() == of.job[11:37].tolist()
    assert those.tolist() == index[11:37].tolist()
    with pytest.raises(ValueError, match="must be neighbours"):
        GroupTable.build([caption_id(JOB, i) for i in range(3)], [0, 1, 0], ["a"] * 3)


def test_what_does_not_fit_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"data\.captions_per_batch: 99 captions do not fit"):
        Plan(table(40, 4, 4), 0, 99, 4, 0.2)
    with pytest.raises(ValueError, match=r"cannot be shared by 3 ranks; use a multiple of 3"):
        Plan(table(40, 4, 4), 0, 8, 4, 0.2).rank_slice(0, 3)
    with pytest.raises(ValueError, match="occurs twice"):
        GroupTable.build([caption_id(JOB, 1)] * 2, [0, 0], ["a", "a"])
