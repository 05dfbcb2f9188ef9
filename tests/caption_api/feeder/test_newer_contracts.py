"""Jobs of a newer contract in a farm that is upgraded bit by bit: they wait, and say for whom."""

from __future__ import annotations

import json
from typing import Any

import pytest

from synfarm.contracts import layout
from synfarm.contracts.jobs import JobSpec, JobState
from synfarm.queue.specs import read_spec
from synfarm.storage.protocol import ObjectStore
from synfarm_caption_api.feeder import roster

pytestmark = pytest.mark.integration


def make_newer(farm: Any, spec: JobSpec, **changes: object) -> None:
    farm.store.put(layout.job(spec.job), json.dumps({**json.loads(spec.to_bytes()), **changes}).encode())


@pytest.fixture
def reads_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """The feeder is of contract 2, and every job is of it."""

    def newer(store: ObjectStore, job: str) -> JobSpec:
        return read_spec(store, job).model_copy(update={"schema_version": 2})

    monkeypatch.setattr(roster, "read_spec", newer)


@pytest.mark.usefixtures("reads_two")
def test_units_of_a_newer_contract_wait_for_workers_that_read_it(farm: Any) -> None:
    spec = farm.submit()
    farm.announce()
    for _ in range(50):
        farm.tick()
    counters = farm.board.counters(spec.job)
    render = "no render worker reads contract 2, which the job has: upgrade the render workers"
    assert counters.stalled == f"no caption worker is alive: start one; {render}"
    assert farm.queues() == ["caption.v2.normal"], "where no older worker looks"
    assert counters.sends == farm.rules.window_min, "once each, and no more than the window"
    assert counters.resends == 0
    farm.announce(reads=(1, 2))
    farm.redis.set(farm.keys.served("caption.v2"), "c")
    farm.tick()
    assert farm.board.counters(spec.job).stalled is None
    assert farm.pop("caption.v2.normal") is not None


def test_a_worker_that_cannot_read_the_job_is_not_asked_more_often_than_in_an_outage(farm: Any) -> None:
    spec, other = farm.submit(), farm.submit()
    farm.tick()  # the feeder has read it
    make_newer(farm, spec, schema_version=2)
    for _ in range(130):
        farm.tick()
        farm.work_off()
    counters = farm.board.counters(spec.job)
    assert "JobSpec: contract 2; upgrade the caption workers" in counters.stalled
    # After 1, 2, 4, 8, 16 seconds, then every 30: eight times in 130 seconds, beyond what was on its way at first.
    assert farm.rules.window_min < counters.sends <= farm.rules.window_min + 10
    assert counters.lost_workers == counters.repairs == 0
    assert not list(farm.store.list(layout.failures_prefix(spec.job)))
    assert farm.ended(other).state is JobState.COMPLETED, "the others go on meanwhile"
    farm.store.put(layout.job(spec.job), spec.to_bytes())  # as an upgraded worker reads it
    ended = farm.finish(spec)
    assert (ended.state, ended.counts.units_dead) == (JobState.COMPLETED, 0)


def test_an_older_feeder_leaves_a_newer_job_alone_and_asks_seldom(farm: Any) -> None:
    spec, other = farm.submit(), farm.submit()
    make_newer(farm, spec, schema_version=2)
    reads: list[str] = []
    farm.store.fault = lambda operation, key: reads.append(key) if operation == "get" else None
    for _ in range(70):
        farm.tick()
        farm.work_off()
    assert farm.ended(other).state is JobState.COMPLETED
    counters = farm.board.counters(spec.job)
    assert counters.stalled == (
        "the leading caption-api does not read this: JobSpec: contract 2; upgrade every caption-api"
    )
    assert counters.sends == 0
    assert reads.count(layout.job(spec.job)) <= 3
    farm.store.put(layout.job(spec.job), spec.to_bytes())  # as an upgraded replica reads it
    assert farm.finish(spec).state is JobState.COMPLETED
    assert farm.board.counters(spec.job).stalled is None
