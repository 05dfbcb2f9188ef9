"""What the feeder asks of units that it has not met: one listing, and never less than what makes it right."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from synfarm.contracts import layout
from synfarm.contracts.captions import write_jsonl
from synfarm.contracts.jobs import JobState
from synfarm.contracts.renders import Stage

pytestmark = pytest.mark.integration


def counting(farm: Any, spec: Any) -> Counter[str]:
    """Requests about units from here on: ``head``, and ``list`` of captions."""
    asked: Counter[str] = Counter()
    folders = tuple(f"jobs/{spec.job}/{folder}/" for folder in ("captions", "commits"))

    def note(operation: str, key: str) -> None:
        if operation == "head" and key.startswith(folders):
            asked["head"] += 1
        if operation == "list" and key.startswith(folders[0]):
            asked["list"] += 1

    farm.store.fault = note
    return asked


def drained(farm: Any) -> list[tuple[int, Stage]]:
    """What lies in the queues."""
    tasks = []
    while (task := farm.pop_any()) is not None:
        tasks.append((task.unit, task.stage))
    return sorted(tasks)


def test_a_new_job_costs_one_listing_and_no_request_a_unit(farm: Any) -> None:
    spec = farm.submit(captions=60 * 4)
    asked = counting(farm, spec)
    for _ in range(10):
        farm.tick()
        farm.store.fault, note = None, farm.store.fault
        farm.work_off()
        farm.store.fault = note
    assert farm.board.counters(spec.job).counts.units_committed > 30
    assert asked == {"list": 1}


def test_after_a_flush_every_unit_goes_where_it_stands(farm: Any, records_of: Any) -> None:
    spec = farm.submit(captions=16)
    farm.tick()
    assert len(drained(farm)) == 4
    for unit in (1, 3):
        farm.store.create(layout.captions(spec.job, unit), write_jsonl(records_of(spec, unit)))
    farm.redis.flushall()
    farm.hire()
    farm.feeder = farm.new_feeder()
    asked = counting(farm, spec)
    farm.tick()
    farm.tick(20)  # past the time in which workers would tell of their leases
    assert drained(farm) == [(0, Stage.CAPTION), (1, Stage.RENDER), (2, Stage.CAPTION), (3, Stage.RENDER)]
    assert asked == {"list": 1}


def test_a_unit_that_was_in_flight_is_asked_about(farm: Any) -> None:
    """Its captions came after the listing; then a render worker handed it back."""
    spec = farm.submit(captions=4)
    farm.tick()
    farm.work_one()
    task = farm.pop_any()
    assert task.stage is Stage.RENDER
    farm.leases.release(farm.leases.claim(task), forget=True)
    asked = counting(farm, spec)
    farm.tick()
    assert asked == {"head": 2}
    assert drained(farm) == [(0, Stage.RENDER)]


def test_captions_that_came_unseen_after_the_listing_are_kept_and_drawn_once(
    farm: Any, new_farm: Any, records_of: Any
) -> None:
    """By a worker that nobody knew of: the caption worker finds them."""
    farm = new_farm(rules=farm.rules.model_copy(update={"window_min": 1}))  # the second unit waits
    spec = farm.submit(captions=8)
    farm.tick()
    late = write_jsonl(records_of(spec, 1))
    farm.store.create(layout.captions(spec.job, 1), late)
    assert farm.finish(spec).state is JobState.COMPLETED
    assert farm.store.get(layout.captions(spec.job, 1)) == late
    assert sorted(farm.renders) == [0, 1]
