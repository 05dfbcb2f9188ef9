"""What wakes workers when there are none, and what lets the last of them go: sends as an autoscaler sees them."""

from __future__ import annotations

from typing import Any

import pytest

from synfarm.contracts import layout
from synfarm_caption_api.api.work_metrics import units_of_work

pytestmark = pytest.mark.integration


def test_a_job_shows_work_from_its_first_pass_to_its_last_commit_though_nobody_serves_it(farm: Any) -> None:
    farm.dismiss()
    spec = farm.submit(captions=40)
    farm.tick()
    assert units_of_work(farm.redis, farm.keys) == {"caption": farm.rules.window_min, "render": 0}
    for _ in range(farm.rules.window_min):
        farm.work_one()
    now = units_of_work(farm.redis, farm.keys)
    assert (now["caption"], now["render"]) == (0, farm.rules.window_min), "captions are written: renderers are wanted"
    farm.finish(spec)
    assert set(units_of_work(farm.redis, farm.keys).values()) == {0}


def test_what_waits_of_a_cancelled_job_wakes_a_worker_that_throws_it_away(farm: Any) -> None:
    spec = farm.submit(captions=40)
    farm.tick()
    farm.store.create(layout.cancel(spec.job), b"{}")
    farm.flags.refresh(spec.job)
    farm.tick()
    assert units_of_work(farm.redis, farm.keys)["caption"] > 0
    farm.work_off()
    assert units_of_work(farm.redis, farm.keys)["caption"] == 0
