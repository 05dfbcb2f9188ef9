"""What the leading feeder tells Prometheus of the whole farm: units by what they wait for, sums that count once."""

from __future__ import annotations

from typing import Any

import pytest

from synfarm.contracts import layout
from synfarm.contracts.renders import Stage
from synfarm.queue.unit import EnvironmentFault
from synfarm_caption_api.api.farm_metrics import FarmCollector
from synfarm_caption_api.feeder.feeder import Feeder

pytestmark = pytest.mark.integration


def _told(feeder: Feeder) -> dict[str, float]:
    """Samples as ``name`` or ``name:value of its last label``; labels of capability are left out."""
    samples = [sample for family in FarmCollector(feeder._record).collect() for sample in family.samples]
    return {
        ":".join([sample.name.removeprefix("synfarm_farm_"), *list(sample.labels.values())[-1:]]): sample.value
        for sample in samples
    }


def test_units_are_told_by_what_they_wait_for_until_the_job_ends(farm: Any) -> None:
    spec = farm.submit(captions=40)  # 10 units, 4 of them in the window
    farm.tick()
    told = _told(farm.feeder)
    assert (told["units:unsent"], told["units:caption_waiting"]) == (6, 4)
    assert told["jobs:running"] == 1
    assert told["missing_images"] == 80
    task = farm.pop_any()
    lease = farm.leases.claim(task)
    farm.work_one()
    farm.tick(60)
    told = _told(farm.feeder)
    assert (told["units:caption_working"], told["units:render_waiting"], told["units:caption_waiting"]) == (1, 1, 2)
    assert told["oldest_unit_seconds:caption"] == 60
    assert told["queue_messages:caption.normal"] == 2
    assert (told["captions_total"], told["draws_total"]) == (3, 6), "one of four slots is drawn thrice and stays empty"
    farm.leases.release(lease, forget=True)
    farm.finish(spec)
    told = _told(farm.feeder)
    assert sum(value for name, value in told.items() if name.startswith("units:")) == 0
    assert (told["units_committed_total"], told["images_total"], told["empty_total"]) == (10, 70, 5)
    assert told["refused_total:too_short"] == 15
    assert told["jobs_ended_total:completed"] == 1
    assert told["jobs:running"] == 0


def test_lost_workers_stalls_and_workers_are_told(farm: Any) -> None:
    def away(*_: object) -> None:
        raise EnvironmentFault("the model is away")

    spec = farm.submit()
    farm.work[Stage.CAPTION] = away
    farm.announce(units=("x/1",))
    farm.tick()
    farm.lose_worker(farm.pop_any())
    farm.work_off()
    farm.tick()
    told = _told(farm.feeder)
    assert told["stalled_jobs:caption_fault"] == 1
    assert (told["lost_workers_total"], told["repairs_total"], told["resends_total"]) == (1, 1, 1)
    assert told["workers:working"] == 1
    farm.store.create(layout.pause(spec.job), b"{}")
    farm.flags.refresh(spec.job)
    farm.tick()
    told = _told(farm.feeder)
    assert told["stalled_jobs:caption_fault"] == 0, "what is paused does not wait"
    assert told["jobs:paused"] == 1


def test_a_job_whose_spec_cannot_be_read_does_not_get_on_unseen(farm: Any) -> None:
    spec = farm.submit()
    whole = farm.store.get(layout.job(spec.job))
    farm.store.put(layout.job(spec.job), whole.replace(b'"schema_version":1', b'"schema_version":2', 1))
    farm.announce()
    for _ in range(3):
        farm.tick()
        assert _told(farm.feeder)["stalled_jobs:unreadable"] == 1
    farm.store.put(layout.job(spec.job), whole)
    farm.tick(30)
    assert _told(farm.feeder)["stalled_jobs:unreadable"] == 0


def test_counters_that_are_rebuilt_count_nothing_twice(farm: Any) -> None:
    spec = farm.submit(captions=40)
    farm.tick()
    farm.work_off()
    farm.tick()
    before = _told(farm.feeder)["images_total"]
    assert 0 < before < 70
    farm.redis.flushall()
    farm.hire()
    farm.tick()
    assert _told(farm.feeder)["images_total"] == before
    farm.finish(spec)
    assert _told(farm.feeder)["images_total"] == 70


def test_another_leader_counts_what_comes_from_then_on_and_the_first_one_has_no_picture(farm: Any) -> None:
    spec = farm.submit(captions=40)
    for _ in range(2):
        farm.tick()
        farm.work_off()
    farm.tick()
    first, second = farm.feeder, farm.new_feeder()
    done = _told(first)["units_committed_total"]
    first.resign()
    farm.feeder = second
    farm.tick(30)
    assert not first.run_pass()
    assert "jobs:running" not in _told(first)
    assert _told(second)["jobs:running"] == 1
    farm.finish(spec)
    assert _told(second)["units_committed_total"] == 10 - done
