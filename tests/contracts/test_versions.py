"""What an older reader says of a newer object, and which fields of a peer it leaves out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from synfarm.contracts.base import utc_now
from synfarm.contracts.captions import CaptionRecord
from synfarm.contracts.jobs import Concept, JobSpec, Lane
from synfarm.contracts.renders import Stage, UnitTask, caption_queue, render_queue, skill
from synfarm.contracts.versions import beyond, read_versions
from synfarm.contracts.workers import WorkerInfo

JOB = "01jd0000000000000000000000"


def spec(**changes: Any) -> bytes:
    made = JobSpec(
        job=JOB, owner="me", created_at=utc_now(), concepts=(Concept(name="cat"),), captions=8, captions_per_unit=4
    )
    return json.dumps({**json.loads(made.to_bytes()), **changes}).encode()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"schema_version": 2, "captions": {"total": 8}}, "JobSpec: contract 2"),
        ({"colour": "warm"}, "JobSpec: a field 'colour' that this version does not know"),
        (
            {"render": {"renderer": "splats"}},
            "JobSpec: render.renderer 'splats', a choice that this version does not know",
        ),
        (
            {"captions_from": {"job": JOB, "seed": 1, "shuffle": True}},
            "JobSpec: a field 'captions_from.CaptionJobRef.shuffle' that this version does not know",
        ),
        ({"captions_from": {"job": "no id", "seed": 1}}, None),
        ({"captions_from": {"file": "mine.jsonl", "owner": "me", "sha256": "short", "lines": 1}}, None),
        ({"schema_version": 0}, None),
        ({"schema_version": "2"}, None),
        ({"captions": -1}, None),
        ({"captions": "many"}, None),
    ],
)
def test_what_is_newer_and_what_is_merely_wrong(changes: dict[str, Any], told: str | None) -> None:
    with pytest.raises(ValidationError) as caught:
        JobSpec.from_bytes(spec(**changes))
    assert beyond(caught.value) == told


def test_damage_is_not_taken_for_a_newer_version() -> None:
    for data in (b"", b"{", b"[]", b'{"schema_version": "2"', b"\xff"):
        with pytest.raises(ValidationError) as caught:
            CaptionRecord.from_bytes(data)
        assert beyond(caught.value) is None


def test_a_stored_object_is_read_whole_or_not_and_a_heartbeat_as_far_as_it_is_known() -> None:
    info = WorkerInfo(id="w", kind="render", started_at=utc_now())
    newer = json.dumps({**json.loads(info.to_bytes()), "power_watts": 700, "units": ["j/1"]})
    assert WorkerInfo.from_peer(newer) == info.model_copy(update={"units": ("j/1",)})
    for read in (JobSpec.from_bytes, UnitTask.model_validate_json):
        with pytest.raises(ValidationError):
            read(spec(power_watts=700))


def test_a_message_is_a_hint_and_may_say_more_than_an_older_worker_knows() -> None:
    task = UnitTask(job=JOB, unit=3, stage=Stage.RENDER, queue="render.collage-s.normal", sequence=7)
    assert UnitTask.from_message({**task.model_dump(mode="json"), "traceparent": "00-ab-cd-01"}) == task
    with pytest.raises(ValidationError) as caught:
        UnitTask.from_message({**task.model_dump(mode="json"), "schema_version": 2})
    assert beyond(caught.value) == "UnitTask: contract 2"


def test_queues_of_the_first_contract_keep_their_names_and_newer_ones_have_their_own() -> None:
    assert read_versions(JobSpec) == (1,)
    assert [caption_queue(Lane.LOW, version) for version in (1, 2)] == ["caption.low", "caption.v2.low"]
    assert render_queue(skill("sd15-s", 1), Lane.HIGH) == "render.sd15-s.high"
    assert render_queue(skill("sd15-s", 2), Lane.HIGH) == "render.sd15-s.v2.high"
