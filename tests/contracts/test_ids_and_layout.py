"""Ids and keys: round trips, and the refusal of everything that could steer a path, a key or a queue."""

from __future__ import annotations

import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from synfarm.contracts import ids, layout
from synfarm.contracts.origins import OwnSetName
from synfarm.contracts.renders import UnitTask

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
ulids = st.builds(
    lambda head, tail: head + tail, st.sampled_from("01234567"), st.text(ALPHABET, min_size=25, max_size=25)
)
units = st.integers(0, ids.MAX_UNIT - 1)
JOB = "01k0000000000000000000000a"
SHA = "0123456789abcdef" * 4

# What an attacker or an accident would put where an id belongs.
hostile = st.one_of(
    st.text(max_size=60),
    st.sampled_from(
        [
            "", "..", "../x", "/etc/passwd", JOB + "/..", JOB + "\n", "\n" + JOB, JOB.upper(), JOB[:-1], JOB + "a",
            "8" + JOB[1:], JOB.replace("k", "i"), JOB + "\x00", "jobs/" + JOB, JOB + " ", "*", "{" + JOB[1:-1] + "}",
            "０" + JOB[1:],
        ]
    ),
    st.builds(lambda a, b: a[:5] + b + a[6:], ulids, st.sampled_from("/.\\:*? \t\n\x00ILOU_-é")),
)  # fmt: skip


def _is_ulid(text: str) -> bool:
    return len(text) == 26 and text[0] in "01234567" and all(c in ALPHABET for c in text)


@given(ulids, st.integers(0, ids.MAX_INDEX - 1))
def test_caption_ids_round_trip_and_hold_no_dot(job: str, index: int) -> None:
    made = ids.caption_id(job, index)
    assert ids.parse_caption_id(made) == (job, index)
    assert "." not in made
    assert TypeAdapter(ids.CaptionId).validate_python(made) == made


@given(hostile)
def test_hostile_ids_never_become_part_of_a_key(text: str) -> None:
    if _is_ulid(text):
        return
    builders = [f for n, f in inspect.getmembers(layout, inspect.isfunction) if n in layout.__all__]
    tried = 0
    for build in builders:
        parameters = list(inspect.signature(build).parameters.values())
        if not parameters or parameters[0].name not in {"job_id", "run_id"}:
            continue
        rest = [SHA if p.name == "sha256" else "a.json" if p.name == "name" else JOB if p.name == "run_id" else 1
                for p in parameters[1:]]  # fmt: skip
        assert build(JOB, *rest)
        with pytest.raises(ValueError, match="not an id"):
            build(text, *rest)
        tried += 1
    assert tried > 20
    with pytest.raises(ValueError, match="not an id"):
        layout.pin(JOB, text)
    with pytest.raises(ValidationError):
        TypeAdapter(ids.JobId).validate_python(text)
    with pytest.raises(ValidationError):
        TypeAdapter(ids.CaptionId).validate_python(text + "-0000000001")


@given(st.text(max_size=40))
def test_file_names_stay_in_their_folder(name: str) -> None:
    try:
        key = layout.export_file(JOB, name)
    except ValueError:
        return
    assert key.count("/") == 3
    assert ".." not in key
    assert key.isascii()
    assert key.isprintable()


@given(st.text(max_size=50), st.text(max_size=50), st.text(max_size=200))
def test_idempotency_keys_are_hashes_and_keep_their_parts_apart(owner: str, route: str, key: str) -> None:
    made = layout.idempotency(owner, route, key)
    assert len(made) == len("idempotency/") + 64 + len(".json")
    assert (made == layout.idempotency(owner + route, "", key)) == (route == "")


def test_parts_of_an_idempotency_key_cannot_flow_into_one_another() -> None:
    assert layout.idempotency("ab", "c", "d") != layout.idempotency("a", "bc", "d")


@given(ulids, units)
def test_unit_keys_round_trip(job: str, unit: int) -> None:
    for folder, key in {
        "captions": layout.captions(job, unit),
        "commits": layout.commit(job, unit),
        "failures": layout.failure(job, unit),
        "shards": layout.shard(job, unit, SHA),
    }.items():
        assert layout.parse_unit(key) == (job, folder, unit)
        assert f"/{unit // layout.FAN:05d}/" in key
    assert layout.commit(job, unit).startswith(layout.commits_fan_prefix(job, unit // layout.FAN))


@given(ulids, st.integers(0, 10**9 - 1), st.integers(0, 10**6 - 1))
def test_checkpoint_keys_round_trip(run: str, step: int, attempt: int) -> None:
    key = layout.checkpoint_file(run, step, attempt, "model.safetensors")
    assert layout.parse_checkpoint(key) == (step, attempt, "model.safetensors")
    assert layout.parse_attempt(layout.attempt(run, attempt)) == attempt
    assert layout.parse_run(key) == run


@pytest.mark.parametrize(
    "key",
    [
        f"jobs/{JOB}/commits/00001/00000000.json",  # wrong fan
        f"jobs/{JOB}/commits/00000/00000000.json/x",
        f"jobs/{JOB}/secrets/00000/00000000.json",
        f"jobs/{JOB}/../{JOB}/commits/00000/00000000.json",
        "",
    ],
)
def test_foreign_keys_are_not_parsed(key: str) -> None:
    with pytest.raises(ValueError, match="not"):
        layout.parse_unit(key)


@pytest.mark.parametrize("unit", [-1, ids.MAX_UNIT, 10**12])
def test_unit_numbers_out_of_range(unit: int) -> None:
    with pytest.raises(ValueError, match="unit must be"):
        layout.commit(JOB, unit)


def test_shard_needs_a_real_hash() -> None:
    with pytest.raises(ValueError, match="sha256"):
        layout.shard(JOB, 0, "../" + SHA[3:])


@given(hostile)
def test_messages_with_hostile_ids_or_queues_are_refused(text: str) -> None:
    good = {"job": JOB, "unit": 0, "stage": "render", "queue": "render.collage-s.normal", "sequence": 1}
    assert UnitTask.model_validate(good)
    if not _is_ulid(text):
        with pytest.raises(ValidationError):
            UnitTask.model_validate({**good, "job": text})
    with pytest.raises(ValidationError):
        UnitTask.model_validate({**good, "queue": text + "\n"})


@given(st.text(min_size=1, max_size=40), st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,79}", fullmatch=True))
def test_parts_of_an_upload_round_trip_and_stay_in_the_owner_s_folder(owner: str, name: str) -> None:
    key = layout.upload_part(owner, name, 3, 10_000, "ab" * 32)
    assert layout.parse_upload_part(key) == (3, 10_000, "ab" * 32)
    assert key.startswith(layout.upload_parts_prefix(owner, name))
    assert layout.upload_commit(owner, name).startswith(layout.uploads_prefix(owner))
    assert not layout.upload_commit(owner, name).startswith(layout.uploads_prefix(owner + "x"))


@given(
    st.text(min_size=1, max_size=40),
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,20}(\.[A-Za-z0-9_-]{1,20}){0,2}", fullmatch=True),
)
def test_keys_of_own_sets_round_trip_and_stay_in_the_owner_s_folder(owner: str, name: str) -> None:
    key = layout.concept_set(owner, name)
    assert layout.parse_concept_set(key) == TypeAdapter(OwnSetName).validate_python(name) == name
    assert key.startswith(layout.concept_sets_prefix(owner))
    assert key.count("/") == 2
    assert not key.startswith(layout.concept_sets_prefix(owner + "x"))
    for other in (key + "/x", key.removesuffix("l"), "jobs/" + key, key.replace(".jsonl", "/../x.jsonl")):
        with pytest.raises(ValueError, match="not "):
            layout.parse_concept_set(other)


@given(hostile)
def test_hostile_names_of_sets_never_become_part_of_a_key(name: str) -> None:
    try:
        key = layout.concept_set("ada", name)
    except ValueError:
        with pytest.raises(ValidationError):
            TypeAdapter(OwnSetName).validate_python(name)
        return
    assert key.count("/") == 2
    assert ".." not in key
    assert key.isascii()
    assert key.isprintable()


@pytest.mark.parametrize("sha256", ["", "ab", "AB" * 32, "../" * 21 + "a"])
def test_recipes_and_uploads_need_a_real_hash(sha256: str) -> None:
    with pytest.raises(ValueError, match="sha256"):
        layout.recipe(sha256)
    with pytest.raises(ValueError, match="sha256"):
        layout.upload_part("ada", "f", 0, 1, sha256)
