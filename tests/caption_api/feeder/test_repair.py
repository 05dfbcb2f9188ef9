"""What the feeder does when workers, messages or Redis' memory are lost, step by step on a clock turned by hand."""

from __future__ import annotations

from typing import Any

import pytest

from synfarm.contracts import layout
from synfarm.contracts.commits import Failure
from synfarm.contracts.jobs import JobState
from synfarm.contracts.manifests import read_part
from synfarm.contracts.renders import Stage, UnitTask
from synfarm.queue.dead_letter import bury
from synfarm.queue.lease import Lease, LeaseBook, LeaseSettings
from synfarm.queue.unit import EnvironmentFault, Outcome, UnitFault

pytestmark = pytest.mark.integration

LATE = "01jd0000000000000000000000"
"""Attempt of a worker that was thought lost."""


def test_a_lost_worker_is_counted_and_its_unit_sent_again_at_once(farm: Any) -> None:
    spec = farm.submit()
    farm.tick()
    task = farm.pop_any()
    farm.lose_worker(task)
    farm.tick()
    counters = farm.board.counters(spec.job)
    assert (counters.lost_workers, counters.repairs, counters.resends) == (1, 1, 1)
    assert farm.finish(spec).counts.units_committed == 10
    assert farm.board.counters(spec.job).resends == 1


def test_a_unit_with_a_living_lease_is_never_sent_again(farm: Any) -> None:
    spec = farm.submit(captions=4)
    farm.tick()
    lease = farm.leases.claim(farm.pop_any())
    for _ in range(20):
        farm.tick(100)
    assert farm.board.counters(spec.job).sends == 1
    farm.leases.release(lease, forget=True)
    assert farm.finish(spec).state is JobState.COMPLETED


def test_a_unit_that_commits_between_the_listing_and_the_look_at_its_lease_is_left_alone(farm: Any) -> None:
    spec = farm.submit(captions=4)
    farm.tick()
    farm.work_one()
    task = farm.pop_any()
    lease = farm.leases.claim(task)
    for _ in range(8):
        farm.tick()  # the queue is empty, and has settled

    def commits_now(operation: str, key: str) -> None:
        if operation == "list" and "failures" in key:  # the commits have been listed just before
            farm.store.fault = None
            farm.render(spec, task, lease)
            farm.leases.release(lease)

    farm.store.fault = commits_now
    farm.tick()
    assert farm.store.fault is None
    assert farm.board.counters(spec.job).resends == 0
    assert farm.finish(spec).state is JobState.COMPLETED


def test_a_unit_under_which_ten_workers_were_lost_is_dead(farm: Any) -> None:
    spec = farm.submit(captions=4)
    for _ in range(10):
        farm.tick()
        farm.lose_worker(farm.pop_any())
    ended = farm.finish(spec)
    failure = Failure.from_bytes(farm.store.get(layout.failure(spec.job, 0)))
    assert (ended.state, failure.fault, failure.count) == (JobState.FAILED, "lost_worker", 10)


def test_lost_workers_and_the_unit_s_own_faults_are_counted_apart(farm: Any) -> None:
    def poisoned(*_: Any) -> None:
        raise UnitFault("NaN")

    spec = farm.submit(captions=4)
    for _ in range(9):
        farm.tick()
        farm.lose_worker(farm.pop_any())
    for _ in range(2):
        farm.tick()
        assert farm.runner.run(farm.pop_any(), poisoned) is Outcome.FAULT
    farm.tick()
    assert farm.runner.run(farm.pop_any(), _away) is Outcome.ENVIRONMENT
    assert not list(farm.store.list(layout.failures_prefix(spec.job)))
    assert farm.finish(spec).state is JobState.COMPLETED


def _away(*_: Any) -> None:
    raise EnvironmentFault("the LLM is away")


def test_a_message_lost_from_an_empty_queue_is_sent_again_after_the_settling_time(farm: Any) -> None:
    spec = farm.submit(captions=4)
    farm.tick()
    assert farm.pop_any() is not None
    farm.tick()  # sees the queue empty for the first time
    farm.tick(farm.rules.settle_seconds - 1.5)
    assert farm.board.counters(spec.job).repairs == 0
    farm.tick(2)
    assert (farm.board.counters(spec.job).repairs, farm.board.counters(spec.job).resends) == (1, 1)


def test_a_lost_message_is_missed_when_a_later_one_was_claimed(farm: Any) -> None:
    spec = farm.submit(captions=400)
    farm.tick()
    lost = farm.pop("caption.normal")
    for _ in range(29):  # its queue is never empty: each pass sends what the last one finished
        farm.tick()
        if farm.redis.llen(farm.keys.queue("caption.normal")) > 1:
            farm.work_one()
        while (task := farm.pop("render.collage-s.normal")) is not None:
            farm.runner.run(task, farm.work[Stage.RENDER])
    assert farm.board.counters(spec.job).repairs == 0
    for _ in range(6):
        farm.tick()
    assert farm.board.flight.sends(spec.job)[f"caption:{lost.unit}"] == 2
    assert farm.board.counters(spec.job).resends == 1
    assert farm.finish(spec).counts.units_committed == 100


def test_waiting_in_a_long_queue_is_no_loss(farm: Any) -> None:
    spec = farm.submit()
    for _ in range(10):
        farm.tick(100)
    assert farm.board.counters(spec.job).resends == 0


def test_duplicate_messages_make_one_commit_and_one_count(farm: Any) -> None:
    spec = farm.submit(captions=4)
    farm.tick()
    task = farm.pop_any()
    assert farm.runner.run(task, farm.work[Stage.CAPTION]) is Outcome.DONE
    assert farm.runner.run(task, farm.work[Stage.CAPTION]) is Outcome.DROPPED  # the render message replaced it
    render = farm.pop_any()
    assert farm.runner.run(render, farm.work[Stage.RENDER]) is Outcome.DONE
    assert farm.runner.run(render, farm.work[Stage.RENDER]) is Outcome.DROPPED  # committed
    assert farm.renders == [0]
    assert farm.finish(spec).counts.units_committed == 1


def test_a_second_worker_drops_the_message_of_a_unit_in_work(farm: Any) -> None:
    farm.submit(captions=4)
    farm.tick()
    task = farm.pop_any()
    other = LeaseBook(farm.redis, farm.keys, worker="other", settings=LeaseSettings())
    lease = farm.leases.claim(task)
    assert other.claim(task) is None
    farm.leases.release(lease)
    assert other.claim(task) is not None
    other.close()


def test_the_job_survives_a_flush_in_the_middle_with_true_counters(farm: Any) -> None:
    spec = farm.submit(captions=120)
    for _ in range(4):
        farm.tick()
        farm.work_off()
    farm.tick()
    held_task = farm.pop_any()
    held = farm.leases.claim(held_task)
    committed = farm.board.counters(spec.job).counts.units_committed
    assert 8 < committed < 30  # a whole part and more, and work left
    farm.redis.flushall()
    farm.leases._renew_one(*farm.leases._held[held.attempt])  # as its thread does within a third of the TTL
    farm.tick()
    assert farm.board.counters(spec.job).counts.units_committed == committed
    assert farm.board.counters(spec.job).sends == 0  # living workers get their grace
    for _ in range(15):
        farm.tick()
        farm.work_off()
    assert farm.board.flight.sends(spec.job).get(f"caption:{held_task.unit}") is None  # its worker lives
    farm.caption(spec, held_task, held)
    farm.leases.release(held)
    ended = farm.finish(spec)
    assert ended.state is JobState.COMPLETED
    assert ended.counts == farm.board.counters(spec.job).counts
    assert ended.draws == farm.board.counters(spec.job).draws
    assert sorted(farm.renders) == list(range(30))


def test_units_above_a_stuck_one_count_again_after_a_flush(farm: Any) -> None:
    spec = farm.submit(captions=120)
    farm.tick()
    stuck = farm.leases.claim(farm.pop_any())
    for _ in range(3):
        farm.work_off()
        farm.tick()
    before = farm.board.counters(spec.job)
    assert (before.watermark, before.counts.units_committed) == (0, 9)
    farm.redis.flushall()
    farm.leases._renew_one(*farm.leases._held[stuck.attempt])
    farm.tick()
    after = farm.board.counters(spec.job)
    assert (after.counts, after.written, after.draws) == (before.counts, before.written, before.draws)


def test_a_lost_epoch_alone_sends_everything_unfinished_again(farm: Any) -> None:
    spec = farm.submit()
    farm.tick()
    farm.redis.delete(farm.keys.epoch)
    farm.tick()
    farm.tick(farm.rules.epoch_grace_seconds + 1)
    assert farm.redis.llen(farm.keys.queue("caption.normal")) == 8
    outcomes = farm.work_off()
    assert outcomes.count(Outcome.DROPPED) == 4  # the messages that had survived are superseded
    assert farm.finish(spec).counts.units_committed == 10


def test_counters_that_were_set_back_are_rebuilt_and_nothing_is_sent_twice(farm: Any) -> None:
    spec = farm.submit(captions=160)
    farm.tick()
    farm.work_off()
    keys = [farm.keys.job(spec.job), farm.keys.bits(spec.job, "committed", 0), farm.keys.beat]
    old = {key: farm.redis.execute_command("DUMP", key, NEVER_DECODE=True) for key in keys}
    for _ in range(3):
        farm.tick()
        farm.work_off()
    farm.tick()
    committed = farm.board.counters(spec.job).counts.units_committed
    for key, value in old.items():  # a restart from an older file
        farm.redis.restore(key, 0, value, replace=True)
    assert farm.board.counters(spec.job).counts.units_committed < committed
    farm.tick()
    assert farm.board.counters(spec.job).counts.units_committed == committed
    ended = farm.finish(spec)
    assert farm.board.counters(spec.job).counts == ended.counts
    assert len(farm.renders) == len(set(farm.renders)) == 40


def test_another_feeder_takes_over_and_both_agree(new_farm: Any) -> None:
    first = new_farm()
    spec = first.submit(captions=120)
    other = first.new_feeder()
    for _ in range(4):
        first.tick()
        assert other.run_pass() is False
        first.work_off()
    first.redis.delete(first.keys.leader)  # its TTL ran out
    assert other.run_pass() is True
    assert first.tick() is False
    first.feeder = other
    ended = first.finish(spec)
    assert ended.counts.units_committed == 30
    assert first.board.counters(spec.job).resends == 0
    lines = [line.unit for part in ended.parts for line in read_part(first.store.get(part.key))]
    assert lines == list(range(30))


def test_two_leaders_at_once_do_no_harm(new_farm: Any) -> None:
    farm = new_farm()
    spec = farm.submit(captions=120)
    other = farm.new_feeder()
    for _ in range(60):
        for feeder in (farm.feeder, other):
            farm.redis.delete(farm.keys.leader)
            farm.clock.advance(1)
            feeder.run_pass()
        farm.work_off()
    ended = farm.ended(spec)
    assert ended is not None
    assert ended.counts.units_committed == 30
    lines = [line.unit for part in ended.parts for line in read_part(farm.store.get(part.key))]
    assert lines == list(range(30))


def test_a_commit_outranks_a_dead_letter_seen_before(farm: Any) -> None:
    spec = farm.submit(captions=40)
    farm.tick()
    assert bury(farm.store, spec.job, 1, stage=Stage.RENDER, fault="unit", reason="late", count=3)
    farm.tick()
    assert farm.board.counters(spec.job).counts.units_dead == 1
    farm.caption(spec, _task(spec, 1), None)
    farm.render(spec, _task(spec, 1), Lease(LATE))
    ended = farm.finish(spec)
    assert (ended.state, ended.counts.units_committed, ended.counts.units_dead) == (JobState.COMPLETED, 10, 0)
    assert farm.board.counters(spec.job).counts == ended.counts
    assert not bury(farm.store, spec.job, 2, stage=Stage.RENDER, fault="unit", reason="late", count=3)


def test_a_commit_outranks_a_dead_letter_below_the_watermark(farm: Any) -> None:
    spec = farm.submit(captions=40)
    bury(farm.store, spec.job, 0, stage=Stage.RENDER, fault="unit", reason="late", count=3)
    farm.tick()
    farm.tick()
    assert farm.progress(spec).watermark == 1
    farm.caption(spec, _task(spec, 0), None)
    farm.render(spec, _task(spec, 0), Lease(LATE))
    ended = farm.finish(spec)
    assert (ended.counts.units_committed, ended.counts.units_dead) == (10, 0)
    assert farm.board.counters(spec.job).counts == ended.counts


def test_a_crash_between_the_end_record_and_the_active_mark_is_tidied_up(farm: Any) -> None:
    spec = farm.submit()
    ended = farm.finish(spec)
    farm.store.create(layout.active(spec.job), b"{}")
    farm.feeder = farm.new_feeder()
    farm.redis.flushall()
    farm.tick()
    assert farm.store.head(layout.active(spec.job)) is None
    assert farm.ended(spec) == ended
    assert farm.work_off() == []


def _task(spec: Any, unit: int) -> UnitTask:
    return UnitTask(job=spec.job, unit=unit, stage=Stage.RENDER, queue="q", sequence=10**15)
