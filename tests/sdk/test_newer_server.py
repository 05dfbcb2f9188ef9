"""An older client of a newer farm: what its answers tell beyond what is known here is left out, in every call."""

from __future__ import annotations

import inspect
import json

from synfarm.contracts.base import utc_now
from synfarm.contracts.jobs import JobState
from synfarm.contracts.manifests import Counts
from synfarm.contracts.views import JobPage, JobView
from synfarm.sdk import calls, caption_file_calls, preset_calls

JOB = "01hzzzzzzzzzzzzzzzzzzzzzzz"


def test_fields_of_a_newer_answer_are_left_out_also_inside() -> None:
    now = utc_now()
    view = JobView(
        job=JOB,
        name="job",
        owner="me",
        state=JobState.RUNNING,
        created_at=now,
        planned_captions=8,
        planned_units=1,
        counts=Counts(),
        as_of=now,
    )
    told = json.loads(view.to_bytes())
    newer = {**told, "carbon_grams": 7, "counts": {**told["counts"], "videos": 3}}
    assert calls.get_job(JOB).read(json.dumps(newer).encode()) == view
    page = {"items": [newer], "next_cursor": None, "total": 1}
    assert calls.list_jobs().read(json.dumps(page).encode()) == JobPage(items=(view,))


def test_every_call_reads_its_answer_so() -> None:
    for module in (calls, caption_file_calls, preset_calls):
        assert ".from_bytes" not in inspect.getsource(module), module.__name__
