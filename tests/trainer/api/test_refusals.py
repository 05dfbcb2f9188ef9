"""What cannot be trained is refused before anything is started: a line a fault, with its field and cure."""

from __future__ import annotations

import re
from typing import Any

import pytest

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.jobs import JobState
from synfarm.contracts.runs import DatasetRef, RunSpec
from synfarm_trainer.config import to_dict
from synfarm_trainer.presets import resolve

GONE, NARROW = "01hzzzzzzzzzzzzzzzzzzzzzzz", "01hzzzzzzzzzzzzzzzzzzzzzza"
GPUS = {"devices": "0,1;2"}
FROM = "model.init_from"
FAULTS: list[tuple[str, dict[str, Any], dict[str, Any], tuple[int, str, str], str]] = [
    # job, body, settings, (status, code, field), what detail and hint say
    ("gone", {}, {}, (404, "job_not_found", "jobs"), "GET /v1/jobs lists your jobs"),
    ("running", {}, {}, (409, "job_not_finished", "jobs"), "Wait until"),
    ("empty", {}, {}, (409, "job_empty", "jobs"), "Name another job"),
    ("small", {}, {}, (409, "too_few_captions", "jobs"), "one batch takes 32.*lower data.captions_per_batch"),
    ("good", {"preset": "tinny"}, {}, (422, "config_invalid", "preset"), "did you mean tiny"),
    ("good", {"ranks": 3}, {}, (422, "ranks_do_not_divide_batch", "ranks"), "a divisor of 32"),
    ("good", {"ranks": 16}, {}, (422, "too_many_ranks", "ranks"), "8 or fewer, or raise SYNFARM_TRAINER_MAX_RANKS"),
    ("good", {"ranks": 4}, GPUS, (422, "too_many_ranks", "ranks"), r"2 or fewer, or make a larger set .*\(0,1;2\)"),
    (
        "good",
        {"overrides": {"execution.device": "cuda"}},
        {"devices": "cpu"},
        (422, "no_such_device", "overrides.execution.device"),
        "has no cuda.*with auto or cpu",
    ),
    (
        "good",
        {"overrides": {FROM: f"run:{GONE}"}},
        {},
        (404, "run_not_found", f"overrides.{FROM}"),
        "GET /v1/runs lists yours",
    ),
    (
        "good",
        {"overrides": {FROM: f"run:{NARROW}@7"}},
        {},
        (409, "checkpoint_not_found", f"overrides.{FROM}"),
        f"run:{NARROW}@<step>",
    ),
    (
        "good",
        {"preset": "small", "overrides": {FROM: f"run:{NARROW}@40"}},
        {},
        (409, "weights_do_not_fit", "overrides.model.width"),
        "Override model.width with",
    ),
]


@pytest.mark.parametrize(
    ("job", "body", "settings", "told", "cure"),
    FAULTS,
    ids=[f"{n}-{fault[3][1]}" for n, fault in enumerate(FAULTS)],
)
def test_refused_before_a_device_is_taken(
    service: Any, job: str, body: dict[str, Any], settings: dict[str, Any], told: tuple[int, str, str], cure: str
) -> None:
    service.settings |= settings
    jobs = {
        "gone": lambda: GONE,
        "running": lambda: service.add_job(state=None),
        "empty": lambda: service.add_job(captions=1, state=None),
        "small": lambda: service.add_job(captions=33),
        "good": service.add_job,
    }
    named = jobs[job]()
    if job == "empty":
        service.end_job(named, JobState.COMPLETED_WITH_ERRORS, 0, 1)
    spec = RunSpec(
        run=NARROW,
        owner="local",
        created_at=utc_now(),
        name="first",
        preset="tiny",
        datasets=(DatasetRef(job=named, generation=1, manifest_sha256="0" * 64),),
        seed=0,
        ranks=1,
        config=to_dict(resolve("tiny")),
    )
    service.store.create(layout.run(NARROW), spec.to_bytes())
    service.checkpoint(NARROW, 40, 0)
    # Outside its context nothing of the service runs.
    answer = service.open().post("/v1/runs", json={"jobs": [named], **body})
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["field"]) == told, problem
    assert re.search(cure, f"{problem['detail']} {problem['hint']}"), problem
    assert not list(service.store.list(layout.pins_prefix(named))), "no run was begun"
