"""A job from submission to its manifest, undisturbed."""

from __future__ import annotations

import time
from typing import Any

import pytest

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.commits import Failure
from synfarm.contracts.events import EventType
from synfarm.contracts.jobs import JobState, Lane
from synfarm.contracts.manifests import read_part
from synfarm.contracts.renders import Stage
from synfarm.queue.events import EventLog
from synfarm.queue.lease import Lease
from synfarm.queue.presence import Presence, WorkerInfo
from synfarm.queue.rates import RateBook
from synfarm.queue.serving import CAPTION
from synfarm.queue.unit import EnvironmentFault, Outcome, UnitFault

pytestmark = pytest.mark.integration


def manifest_units(farm: Any, ended: Any) -> list[int]:
    return [line.unit for part in ended.parts for line in read_part(farm.store.get(part.key))]


def test_a_job_completes_with_true_totals_and_nothing_is_sent_twice(farm: Any) -> None:
    spec = farm.submit(captions=78)  # 20 units, two whole parts of 8 and a rest of 4
    ended = farm.finish(spec)
    empty = sum(index % 7 == 6 for index in range(78))
    assert ended.state is JobState.COMPLETED
    assert (ended.counts.units_committed, ended.counts.captions, ended.counts.empty) == (20, 78 - empty, empty)
    assert ended.counts.images == 2 * (78 - empty)
    assert (ended.draws, ended.rejections) == (78 + 2 * empty, {"too_short": 3 * empty})
    assert [part.units for part in ended.parts] == [8, 8, 4]
    assert manifest_units(farm, ended) == list(range(20))
    counters = farm.board.counters(spec.job)
    assert counters.counts == ended.counts
    assert (counters.sends, counters.resends, counters.repairs) == (40, 0, 0)
    assert farm.store.head(layout.active(spec.job)) is None
    assert b"78 planned" in farm.store.get(layout.card(spec.job))


def test_the_feeder_keeps_what_finished_units_cost(farm: Any) -> None:
    farm.finish(farm.submit(captions=40))
    book = RateBook(farm.redis, farm.keys)
    kept = book.timings("collage-s")
    assert (len(kept), kept[0].seconds, kept[0].bytes) == (10, 3.0, 1000)
    assert (book.throughput("collage-s") or 0) > 0


def test_parts_are_written_while_the_job_runs(farm: Any) -> None:
    spec = farm.submit(captions=160)
    for _ in range(5):
        farm.tick()
        farm.work_off()
    assert farm.ended(spec) is None
    assert farm.store.head(layout.manifest_part(spec.job, 1, 0)) is not None
    assert farm.progress(spec).parts == farm.progress(spec).watermark // 8 >= 1


def test_the_window_bounds_what_is_in_flight_from_send_to_commit(farm: Any) -> None:
    spec = farm.submit(captions=400)
    for _ in range(10):
        farm.tick()
        while (task := farm.pop("caption.normal")) is not None:  # captions are fast, nobody renders
            farm.runner.run(task, farm.work[Stage.CAPTION])
    assert farm.board.counters(spec.job).in_flight == farm.rules.window_min
    assert farm.board.counters(spec.job).sends == 2 * farm.rules.window_min


def test_the_window_is_shared_by_owner_then_by_job(farm: Any) -> None:
    greedy = [farm.submit(captions=400, owner="greedy") for _ in range(3)]
    modest = farm.submit(captions=400, owner="modest")
    farm.tick()
    assert farm.board.flight.in_flight(modest.job) == 2
    assert sum(farm.board.flight.in_flight(job.job) for job in greedy) == 2


def test_a_unit_that_waits_too_long_moves_up_a_lane(farm: Any) -> None:
    spec = farm.submit(captions=4, lane=Lane.LOW)
    farm.tick()
    farm.tick(farm.rules.age_seconds + 1)
    assert farm.queues() == ["caption.normal", "caption.low"]
    stale = farm.pop("caption.low")
    assert farm.runner.run(stale, farm.work[Stage.CAPTION]) is Outcome.DROPPED
    assert farm.finish(spec).state is JobState.COMPLETED
    assert farm.renders == [0]


def test_a_poison_unit_is_dead_after_three_faults_and_the_budget_decides(farm: Any) -> None:
    def poisoned(spec: Any, task: Any, lease: Lease) -> None:
        if task.unit == 3:
            raise UnitFault("NaN in image 1")
        farm.render(spec, task, lease)

    farm.work[Stage.RENDER] = poisoned
    tolerant, strict = farm.submit(budget=0.1), farm.submit(budget=0.05)
    ended, failed = farm.finish(tolerant), farm.finish(strict)
    assert (ended.state, failed.state) == (JobState.COMPLETED_WITH_ERRORS, JobState.FAILED)
    assert (ended.counts.units_committed, ended.counts.units_dead) == (9, 1)
    failure = Failure.from_bytes(farm.store.get(layout.failure(tolerant.job, 3)))
    assert (failure.count, failure.fault, failure.reason) == (3, "unit", "NaN in image 1")
    assert farm.board.counters(tolerant.job).resends == 2


def test_an_unexpected_error_is_the_units_fault_with_its_traceback(farm: Any) -> None:
    def broken(spec: Any, task: Any, lease: Lease) -> None:
        raise ZeroDivisionError("here")

    farm.work[Stage.CAPTION] = broken
    spec = farm.submit(captions=4)
    assert farm.finish(spec).state is JobState.FAILED
    reason = Failure.from_bytes(farm.store.get(layout.failure(spec.job, 0))).reason
    assert "ZeroDivisionError: here" in reason
    assert "Traceback" in reason


def test_a_unit_that_dies_of_damaged_captions_holds_nothing_else_up_and_a_retry_heals_it(farm: Any) -> None:
    def render(spec: Any, task: Any, lease: Lease) -> None:
        if b"\xff" in farm.store.get(layout.captions(spec.job, task.unit)):
            raise UnitFault("line 1: byte 0 is no UTF-8")
        farm.render(spec, task, lease)

    def caption(spec: Any, task: Any, lease: Lease) -> None:
        farm.caption(spec, task, lease)
        if task.unit == 3 and not farm.renders:
            farm.store.put(layout.captions(spec.job, 3), b"\xff")

    farm.work = {Stage.CAPTION: caption, Stage.RENDER: render}
    spec = farm.submit(budget=0.1)
    ended = farm.finish(spec)
    assert (ended.state, ended.counts.units_dead) == (JobState.COMPLETED_WITH_ERRORS, 1)
    farm.store.delete(layout.captions(spec.job, 3))
    farm.open_generation(spec, 2, "retry", spec.captions)
    again = farm.finish(spec)
    assert (again.state, again.counts.units_committed) == (JobState.COMPLETED, 10)
    assert farm.store.get(layout.ended(spec.job, 1)) == ended.to_bytes(), "the old manifest stays"


def test_environment_faults_never_count_and_sending_backs_off(farm: Any) -> None:
    away = True

    def caption(spec: Any, task: Any, lease: Lease) -> None:
        if away:
            raise EnvironmentFault("the LLM at llm:8080 does not answer")
        farm.caption(spec, task, lease)

    farm.work[Stage.CAPTION] = caption
    spec = farm.submit()
    for _ in range(120):
        farm.tick()
        farm.work_off()
    counters = farm.board.counters(spec.job)
    assert counters.stalled == "caption: the LLM at llm:8080 does not answer"
    assert counters.stalls[Stage.CAPTION].faults >= 5  # more than the three that kill a unit
    assert counters.sends < 20  # 120 passes would have sent 480
    assert not list(farm.store.list(f"jobs/{spec.job}/failures/"))
    away = False
    assert farm.finish(spec).counts.units_committed == 10
    assert farm.board.counters(spec.job).stalled is None


def test_pause_stops_sending_and_resume_goes_on(farm: Any) -> None:
    spec = farm.submit()
    farm.tick()
    farm.store.put(layout.pause(spec.job), b"{}")
    farm.flags.refresh(spec.job)
    assert set(farm.work_off()) == {Outcome.HANDED_BACK}
    for _ in range(3):
        farm.tick()
    assert farm.work_off() == []
    farm.store.delete(layout.pause(spec.job))
    farm.flags.refresh(spec.job)
    assert farm.finish(spec).state is JobState.COMPLETED


def test_a_cancelled_job_ends_with_a_manifest_of_what_is_committed(farm: Any) -> None:
    spec = farm.submit(captions=400)
    for _ in range(4):
        farm.tick()
        farm.work_off()
    farm.tick()
    farm.store.create(layout.cancel(spec.job), b"{}")
    farm.flags.refresh(spec.job)
    ended = farm.finish(spec)
    assert ended.state is JobState.CANCELLED
    assert 0 < ended.counts.units_committed < 100
    assert len(manifest_units(farm, ended)) == ended.counts.units_committed
    assert farm.store.head(layout.active(spec.job)) is None
    assert farm.redis.hlen(farm.keys.sent(spec.job)) == 0


def test_events_tell_states_and_units(farm: Any) -> None:
    spec = farm.submit()
    farm.finish(spec)
    events = EventLog(farm.redis, farm.keys).read(spec.job, None)
    states = [e.data["state"] for e in events if e.type is EventType.STATE]
    assert states[-1] == "completed"
    assert "running" in states
    told = sorted(u for e in events if e.type is EventType.UNITS for u in e.data["units"])
    assert told == list(range(10))
    assert [int(e.id.rpartition("-")[2]) for e in events] == list(range(1, len(events) + 1))


def test_an_unreadable_commit_holds_up_its_own_job_alone(farm: Any) -> None:
    damaged, sound = farm.submit(), farm.submit()
    farm.store.create(layout.commit(damaged.job, 2), b"{}")
    farm.store.put(f"jobs/{sound.job}/commits/00000/.DS_Store", b"a stray file is no unit")
    assert farm.finish(sound).state is JobState.COMPLETED
    assert "cannot be read" in farm.board.counters(damaged.job).stalled
    assert farm.ended(damaged) is None
    assert farm.board.counters(damaged.job).sends == 0
    farm.store.delete(layout.commit(damaged.job, 2))
    assert farm.finish(damaged).state is JobState.COMPLETED


def test_missing_workers_are_named(farm: Any) -> None:
    farm.dismiss()
    spec = farm.submit()
    render = "no render worker serves collage-s: start one with it in SYNFARM_RENDER_CAPABILITIES"
    farm.tick()
    assert farm.board.counters(spec.job).stalled == render, "at once, though its captions are still to be written"
    farm.tick(farm.rules.claim_gap_seconds)
    assert farm.board.counters(spec.job).stalled == f"no caption worker is alive: start one; {render}"
    farm.redis.set(farm.keys.served(CAPTION), "c")
    farm.announce(loading="m", trouble="the model 'm' cannot be loaded: gated")
    farm.tick()
    told = "no render worker that serves collage-s can load its model: the model 'm' cannot be loaded: gated"
    assert farm.board.counters(spec.job).stalled == told
    farm.announce()
    assert farm.finish(spec).state is JobState.COMPLETED
    assert farm.board.counters(spec.job).stalled is None


def test_workers_that_are_started_again_are_not_missed(farm: Any) -> None:
    farm.redis.delete(farm.keys.served("collage-s"))
    spec = farm.submit()
    presence = Presence(
        farm.redis,
        farm.keys,
        WorkerInfo(id="r", kind="render", capabilities=("collage-s",), started_at=utc_now()),
    )
    presence.start()
    while not farm.redis.exists(farm.keys.served("collage-s")):
        time.sleep(0.01)
    presence.stop()
    farm.tick()
    assert farm.board.counters(spec.job).stalled is None
    assert 15_000 < farm.redis.pttl(farm.keys.served("collage-s")) <= 30_000
    farm.redis.delete(farm.keys.served("collage-s"))  # half a minute later
    farm.tick()
    assert "no render worker serves collage-s" in farm.board.counters(spec.job).stalled
