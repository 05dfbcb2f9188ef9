"""Presets over HTTP: what a run would be made of, told before it is made."""

from __future__ import annotations

import json
from typing import Any

from synfarm.contracts.presets import PresetList, PresetView
from synfarm_trainer.presets import preset_names


def test_a_preset_is_told_as_a_run_would_freeze_it(service: Any) -> None:
    overrides = {"schedule.steps": 20, "schedule.warmup_steps": 2, "objective.name": "stablerep"}
    job = service.add_job()
    with service.open() as client:
        listed = PresetList.from_bytes(client.get("/v1/presets").content)
        told = PresetView.from_bytes(
            client.get("/v1/presets/tiny", params={"overrides": json.dumps(overrides)}).content
        )
        run = client.post("/v1/runs", json={"jobs": [job], "overrides": overrides}).json()["run"]
        frozen = client.get(f"/v1/runs/{run}/spec").json()["config"]
    assert [item.name for item in listed.items] == list(preset_names())
    assert {field.name: field.value for field in told.fields} == {
        f"{section}.{name}": value for section, values in frozen.items() for name, value in values.items()
    }
    assert told.steps == 20


def test_refusals_name_field_and_cure(service: Any) -> None:
    with service.open() as client:
        nowhere = client.get("/v1/presets/tinny")
        assert (nowhere.status_code, nowhere.json()["code"]) == (404, "preset_not_found")
        assert "did you mean tiny" in nowhere.json()["detail"]
        wrong = client.get("/v1/presets/tiny", params={"overrides": '{"optim.lrr": 1}'}).json()
        assert (wrong["code"], wrong["field"]) == ("config_invalid", "overrides.optim.lrr")
        for malformed in ("{", "[1]"):
            assert client.get("/v1/presets/tiny", params={"overrides": malformed}).status_code == 422
