"""Runs over several jobs by weights and over jobs that still render, as they are asked for."""

from __future__ import annotations

from typing import Any

import pytest

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.jobs import JobState
from synfarm.contracts.manifests import Counts, ManifestLine, Progress, manifest_hash, write_part
from synfarm.contracts.runs import RunSpec
from synfarm.storage.manifest_reader import read_open_parts


def post(service: Any, *jobs: str, **body: Any) -> tuple[int, dict[str, Any]]:
    with service.open() as client:
        answer = client.post("/v1/runs", json={"jobs": list(jobs), **body})
    return answer.status_code, answer.json()


def add_part(service: Any, job: str, number: int, captions: int, generation: int = 1) -> None:
    line = ManifestLine(unit=number, status="committed", groups=captions, images=4 * captions)
    service.store.create(layout.manifest_part(job, generation, number), write_part([line]))


def running_job(service: Any, parts: int, generation: int = 1, captions: int = 100) -> str:
    job: str = service.add_job(state=None)
    service.store.create(layout.active(job), b"")
    progress = Progress(job=job, watermark=parts, counts=Counts(), parts=parts, generation=generation, as_of=utc_now())
    service.store.put(layout.progress(job), progress.to_bytes())
    for number in range(parts):
        add_part(service, job, number, captions, generation)
    return job


def frozen(service: Any, run: str) -> RunSpec:
    return RunSpec.from_bytes(service.store.get(layout.run(run)))


def test_a_running_job_is_frozen_by_the_parts_that_are_there(service: Any) -> None:
    service.plan({"steps": 1, "end": "completed"})
    job = running_job(service, 2)
    status, view = post(service, job, follow=True)
    assert status == 201, view
    spec = frozen(service, view["run"])
    parts = read_open_parts(service.store, job, 1)
    assert (spec.follow, spec.weights, spec.datasets[0].parts) == (True, (), 2)
    assert spec.datasets[0].manifest_sha256 == manifest_hash(parts)
    assert service.store.head(layout.pin(job, view["run"])) is not None


def test_the_generation_in_work_is_followed_and_an_ended_one_is_taken_whole(service: Any) -> None:
    service.plan({"steps": 1, "end": "completed"})
    grown = running_job(service, 1, generation=2)
    service.end_job(grown, JobState.COMPLETED, 500, 1)
    ended = service.add_job()
    _, view = post(service, grown, ended, follow=True, weights=[0.5, 1.5])
    spec = frozen(service, view["run"])
    assert [(ref.job, ref.generation, ref.parts) for ref in spec.datasets] == [(grown, 2, 1), (ended, 1, None)]
    assert spec.weights == (1, 3)
    _, view = post(service, grown)
    assert [(ref.generation, ref.parts) for ref in frozen(service, view["run"]).datasets] == [(1, None)]


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        ({"weights": [1.0]}, 422, "weights_invalid", "weights"),
        ({"weights": [1.0, 0.0]}, 422, "weights_invalid", "weights"),
        ({"weights": [0.1234567, 1.0]}, 422, "weights_invalid", "weights"),
        ({"weights": [40, 1], "overrides": {"data.captions_per_batch": 64}}, 409, "too_few_captions", "weights"),
        ({"follow": True, "overrides": {"objective.name": "supce"}}, 422, "follow_needs_no_classes", "follow"),
    ],
)
def test_mixtures_that_cannot_be_are_refused(
    service: Any, body: dict[str, Any], status: int, code: str, field: str
) -> None:
    small, large = service.add_job(captions=40), service.add_job()
    found, problem = post(service, small, large, **body)
    assert (found, problem["code"], problem["field"]) == (status, code, field)
    assert problem["hint"]
    assert not list(service.store.list("runs/"))


@pytest.mark.parametrize(("parts", "captions", "code"), [(0, 0, "job_not_far_enough"), (1, 8, "too_few_captions")])
def test_a_job_that_has_not_come_far_enough_is_refused(service: Any, parts: int, captions: int, code: str) -> None:
    job = running_job(service, parts, captions=captions)
    status, problem = post(service, job, follow=True)
    assert (status, problem["code"], problem["field"]) == (409, code, "jobs")
    status, problem = post(service, job)
    assert (status, problem["code"]) == (409, "job_not_finished")
    assert not list(service.store.list(layout.pins_prefix(job)))


def test_a_part_that_cannot_be_read_is_named(service: Any) -> None:
    job = running_job(service, 1)
    service.store.put(layout.manifest_part(job, 1, 0), b"{")
    status, problem = post(service, job, follow=True)
    assert (status, problem["code"]) == (409, "job_not_usable")
    assert "part-000000" in problem["detail"]
