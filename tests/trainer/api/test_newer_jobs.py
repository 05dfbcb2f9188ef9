"""An older trainer that is asked for a job of a newer version: it says so and whom to upgrade, and makes no run."""

from __future__ import annotations

import json
from typing import Any

import pytest

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.manifests import Counts, ManifestLine, Progress, write_part


def _asked(service: Any, job: str, **body: Any) -> tuple[int, dict[str, Any]]:
    with service.open() as client:
        answer = client.post("/v1/runs", json={"jobs": [job], **body})
    return answer.status_code, answer.json()


def _rewrite(service: Any, key: str, **changes: Any) -> None:
    service.store.put(key, json.dumps({**json.loads(service.store.get(key)), **changes}).encode())


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"schema_version": 9}, "JobSpec: contract 9"),
        ({"shutter": "slow"}, "a field 'shutter' that this version does not know"),
    ],
)
def test_a_spec_of_a_newer_version(service: Any, changes: dict[str, Any], told: str) -> None:
    job = service.add_job()
    _rewrite(service, layout.job(job), **changes)
    status, problem = _asked(service, job)
    assert (status, problem["code"], problem["field"]) == (409, "job_of_newer_version", "jobs")
    assert told in problem["detail"]
    assert "Upgrade the trainer" in problem["hint"]
    assert not list(service.store.list("runs/"))


def test_an_end_record_and_an_open_part_of_a_newer_version(service: Any) -> None:
    job = service.add_job()
    _rewrite(service, layout.ended(job, 1), schema_version=9)
    status, problem = _asked(service, job)
    assert (status, problem["code"]) == (409, "job_of_newer_version")
    grows = service.add_job(state=None)
    service.store.create(layout.active(grows), b"")
    progress = Progress(job=grows, watermark=1, counts=Counts(), parts=1, as_of=utc_now())
    service.store.put(layout.progress(grows), progress.to_bytes())
    line = json.loads(write_part([ManifestLine(unit=0, status="committed", groups=100, images=400)]))
    service.store.put(layout.manifest_part(grows, 1, 0), json.dumps({**line, "tint": "blue"}).encode() + b"\n")
    status, problem = _asked(service, grows, follow=True)
    assert (status, problem["code"]) == (409, "job_of_newer_version"), problem
    _rewrite(service, layout.progress(grows), schema_version=9)
    status, problem = _asked(service, grows, follow=True)
    assert (status, problem["code"]) == (409, "job_of_newer_version"), problem


def test_a_job_that_is_broken_is_not_called_newer(service: Any) -> None:
    job = service.add_job()
    _rewrite(service, layout.job(job), captions="many")
    status, problem = _asked(service, job)
    assert (status, problem["code"], problem["field"]) == (409, "job_not_usable", "jobs")
    assert layout.job(job) in problem["detail"]
    assert f"synfarm verify {job}" in problem["hint"]


def test_of_others_ids_tell_nothing(service: Any, two_users: dict[str, dict[str, str]]) -> None:
    job = service.add_job(owner="ada")
    _rewrite(service, layout.job(job), schema_version=9)
    gone = service.add_job(owner="bob")
    _rewrite(service, layout.job(gone), schema_version=9, owner=7)
    with service.open() as client:
        found = [
            client.post("/v1/runs", json={"jobs": [asked]}, headers=two_users[who]).json()["code"]
            for who, asked in (("bob", job), ("ada", job), ("root", job), ("bob", gone))
        ]
    assert found == ["job_not_found", "job_of_newer_version", "job_of_newer_version", "job_not_found"]
