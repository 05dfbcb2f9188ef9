"""Contract models: what they refuse, what they derive, and that their bytes are canonical."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from synfarm.contracts.base import utc_now
from synfarm.contracts.captions import CaptionRecord, DropReason, read_jsonl, write_jsonl
from synfarm.contracts.events import event_id, parse_event_id
from synfarm.contracts.ids import caption_id
from synfarm.contracts.jobs import Concept, JobRequest, JobSpec, RenderSettings
from synfarm.contracts.manifests import Counts, ManifestPart, manifest_hash
from synfarm.contracts.problems import ProblemError

JOB = "01k0000000000000000000000a"


def _spec(captions: int, per_unit: int) -> JobSpec:
    return JobSpec(
        job=JOB,
        owner="me",
        created_at=utc_now(),
        concepts=(Concept(name="dog"),),
        captions=captions,
        captions_per_unit=per_unit,
    )


@given(st.integers(1, 5000), st.integers(1, 64))
def test_units_partition_the_captions(captions: int, per_unit: int) -> None:
    """Pitfall 39: for any number, none is left out and none in two units."""
    spec = _spec(captions, per_unit)
    seen = [i for unit in range(spec.units) for i in spec.unit_range(unit)]
    assert seen == list(range(captions))
    with pytest.raises(ValueError, match="has units"):
        spec.unit_range(spec.units)


def test_a_job_of_150_million_captions_is_cheap_to_describe() -> None:
    assert _spec(150_000_000, 64).units == 2_343_750


def test_bare_concepts_and_duplicates() -> None:
    request = JobRequest.model_validate({"concepts": ["dog", {"name": "cat", "synonyms": ["kitten"]}], "captions": 4})
    assert [c.name for c in request.concepts] == ["dog", "cat"]
    with pytest.raises(ValidationError, match="occurs twice"):
        JobRequest.model_validate({"concepts": ["dog", "Dog"], "captions": 4})


@pytest.mark.parametrize("name", ["", " dog", "dog ", "a  b", "dog\n\nconcept", "dog => cat", "d\x00g", "x" * 81])
def test_concepts_cannot_carry_prompt_syntax(name: str) -> None:
    with pytest.raises(ValidationError):
        Concept(name=name)


def test_renderer_and_model_must_fit() -> None:
    with pytest.raises(ValidationError, match="needs 'model'"):
        RenderSettings(renderer="diffusers", family="sd15")
    with pytest.raises(ValidationError, match="needs 'family'"):
        RenderSettings(renderer="diffusers", model="some/model")
    assert RenderSettings(renderer="diffusers", model="a/b", family="sd15", render_size=512).capability == "sd15-m"
    assert RenderSettings(size=64).capability == "collage-s"


def test_times_need_a_zone_and_are_kept_in_utc() -> None:
    with pytest.raises(ValidationError, match="needs its zone"):
        JobSpec.model_validate({**_spec(1, 1).model_dump(), "created_at": datetime(2026, 1, 1)})
    east = datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    spec = JobSpec.model_validate({**_spec(1, 1).model_dump(), "created_at": east})
    assert spec.created_at == datetime(2026, 1, 1, 10, tzinfo=UTC)
    assert spec.created_at.utcoffset() == timedelta(0)


def test_bytes_are_canonical_and_unknown_fields_are_refused() -> None:
    spec = _spec(3, 2)
    assert JobSpec.from_bytes(spec.to_bytes()).to_bytes() == spec.to_bytes()
    with pytest.raises(ValidationError, match="Extra inputs"):
        JobSpec.model_validate({**spec.model_dump(), "surprise": 1})


def _record(index: int, text: str | None) -> CaptionRecord:
    return CaptionRecord(
        caption_id=caption_id(JOB, index),
        index=index,
        concept="dog",
        text=text,
        empty_reason=None if text else DropReason.CONCEPT_LOST,
        draws=1,
        llm_seed=1,
        llm_model="m",
    )


@given(st.lists(st.one_of(st.none(), st.text(min_size=1, max_size=80)), max_size=8))
def test_jsonl_round_trip_whatever_the_text(texts: list[str | None]) -> None:
    records = [_record(i, t or None) for i, t in enumerate(texts)]
    assert read_jsonl(write_jsonl(records)) == records


def test_a_slot_is_either_kept_or_empty() -> None:
    with pytest.raises(ValidationError, match="exactly one"):
        CaptionRecord.model_validate({**_record(0, "a dog").model_dump(), "empty_reason": "repeats"})
    with pytest.raises(ValidationError, match="exactly one"):
        CaptionRecord.model_validate({**_record(0, "a dog").model_dump(), "text": None})


def test_counts_add() -> None:
    assert Counts(images=3, bytes=5) + Counts(images=4, units_dead=1) == Counts(images=7, bytes=5, units_dead=1)


def test_manifest_hash_depends_on_order_and_content() -> None:
    a, b = (ManifestPart(key=k, sha256=k * 64, units=1, groups=1) for k in "ab")
    assert len({manifest_hash([a, b]), manifest_hash([b, a]), manifest_hash([a])}) == 3


@given(st.text(max_size=60))
def test_event_ids_from_clients_never_raise(text: str) -> None:
    parsed = parse_event_id(text)
    if parsed is not None:
        assert parse_event_id(event_id(*parsed)) == parsed


def test_event_ids_round_trip() -> None:
    assert parse_event_id(event_id("k3", 12)) == ("k3", 12)
    assert parse_event_id("k3-12-1") is None


def test_problem_errors_carry_the_field_and_the_next_step() -> None:
    problem = ProblemError(
        422, "unknown_concept", "No artwork for 'dgo'.", field="concepts.0", hint="Near: dog."
    ).problem
    assert (problem.status, problem.field, problem.hint) == (422, "concepts.0", "Near: dog.")
