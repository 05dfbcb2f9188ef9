"""Runs that begin with given weights: only with such as are there, and the caller's own."""

from __future__ import annotations

from typing import Any

import pytest

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.runs import DatasetRef, RunSpec
from synfarm_trainer.config import to_dict
from synfarm_trainer.presets import resolve

ADAS, BOBS = "01hzzzzzzzzzzzzzzzzzzzzzza", "01hzzzzzzzzzzzzzzzzzzzzzzb"


def add_run(service: Any, run: str, owner: str, job: str) -> None:
    spec = RunSpec(
        run=run,
        owner=owner,
        created_at=utc_now(),
        name="first",
        preset="tiny",
        datasets=(DatasetRef(job=job, generation=1, manifest_sha256="0" * 64),),
        seed=0,
        ranks=1,
        config=to_dict(resolve("tiny")),
    )
    service.store.create(layout.run(run), spec.to_bytes())
    service.store.put(layout.run_stop(run), b"{}")


@pytest.mark.parametrize(
    ("text", "status", "code"),
    [
        (f"run:{ADAS}", 409, "run_not_completed"),
        (f"run:{ADAS}@7", 409, "checkpoint_not_found"),
        (f"run:{BOBS}", 404, "run_not_found"),
        (f"run:{BOBS}@40", 404, "run_not_found"),
        (f"store:runs/{BOBS}/export/backbone.safetensors", 404, "run_not_found"),
        ("run:" + "0" * 26, 404, "run_not_found"),
        ("store:weights/none.safetensors", 404, "weights_not_found"),
        ("store:jobs/none.safetensors", 422, "config_invalid"),
        (f"run:{ADAS}@40", 201, None),
        ("store:weights/own.safetensors", 201, None),
        ("timm:vit_tiny_patch16_224", 201, None),
    ],
)
def test_weights_are_looked_for_before_a_run_exists(
    service: Any, two_users: dict[str, dict[str, str]], text: str, status: int, code: str | None
) -> None:
    job = service.add_job(owner="ada")
    for run, owner in ((ADAS, "ada"), (BOBS, "bob")):
        add_run(service, run, owner, job)
        service.checkpoint(run, 40, 0)
    service.store.put(layout.export_file(BOBS, "backbone.safetensors"), b"")
    service.store.put(layout.weights_file("own.safetensors"), b"")
    with service.open() as client:
        body = {"jobs": [job], "overrides": {"model.init_from": text}}
        answer = client.post("/v1/runs", json=body, headers=two_users["ada"])
    assert answer.status_code == status, answer.text
    if code is not None:
        problem = answer.json()
        assert (problem["code"], problem["field"]) == (code, "overrides.model.init_from")
        assert problem["hint"]
        assert not list(service.store.list(layout.pins_prefix(job)))
    if code == "checkpoint_not_found":
        assert problem["hint"] == f"It has checkpoints of steps 40: run:{ADAS}@<step>."
