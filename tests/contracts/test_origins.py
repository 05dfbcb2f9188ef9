"""What a job may be asked to caption, how a wrong request is refused, and that old specs stay what they are."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from synfarm.contracts.captions import CaptionRecord
from synfarm.contracts.concepts import Concept
from synfarm.contracts.jobs import JobRequest, JobSpec
from synfarm.contracts.origins import CaptionFileRef, CaptionJobRef, RecipeRef, Template
from synfarm.contracts.recipes import PoolExample, Recipe, Source

JOB = "01k" + "0" * 23
WELL: dict[str, Any] = {"captions": 8}
REF = RecipeRef(sha256="ab" * 32, name="paper", concepts=14_000, sources=9)


def spec_of(**changes: Any) -> JobSpec:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return JobSpec(job=JOB, owner="ada", created_at=at, captions=5000, captions_per_unit=8, **changes)


@pytest.mark.parametrize(
    "origin",
    [
        {"concepts": ["dog"]},
        {"concepts": ["dog"], "templates": {"c": 0.5, "c,rel": 0.5}, "backgrounds": ["a park"]},
        {"concept_set": "in1k", "backgrounds": {"dog": ["a park", "a beach"]}},
        {"mix": "paper"},
        {"mix": {"in1k": 0.25, "food101": 0.75}},
        {"variant": "ours"},
        {"variant": "cc12m", "captions_from": {"file": "cc12m"}},
        {"captions_from": {"job": JOB}},
    ],
)
def test_one_origin_is_enough_and_survives_its_json(origin: dict[str, Any]) -> None:
    request = JobRequest.model_validate({**WELL, **origin})
    assert JobRequest.from_bytes(request.to_bytes()) == request


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({}, "the body has none of them"),
        ({"concepts": ["dog"], "mix": "paper"}, "the body has concepts and mix"),
        ({"variant": "cc12m"}, '"captions_from"'),
        ({"captions_from": {}}, "exactly one of 'file' and 'job'"),
        ({"captions_from": {"file": "a", "job": JOB}}, "exactly one of 'file' and 'job'"),
        ({"mix": {"a": 0.5, "b": 0.3}}, "sum to 0.8, not to 1; in the same proportions: a: 0.625, b: 0.375"),
        ({"mix": {"a": 1.0, "b": 0.0}}, "greater than 0"),
        ({"mix": {"a": 0.5, "b": 0.5}, "concept_draw": "balanced"}, "one list or set of concepts"),
        ({"mix": "paper", "templates": {"c": 1}}, "mix has its own"),
        ({"concept_set": "a", "templates": {"c": 0.7}}, "in the same proportions: c: 1"),
        ({"concept_set": "a", "templates": {"c": 0}}, "none is above 0"),
        ({"concept_set": "a", "templates": {"given": 1}}, "'given' is no prompt"),
        ({"mix": "paper", "backgrounds": ["a park"]}, "concepts or concept_set"),
        ({"captions_from": {"job": JOB}, "examples": {"text": "x"}}, "captions_from needs none"),
    ],
)
def test_a_wrong_request_is_told_the_cure(body: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError) as raised:
        JobRequest.model_validate({**WELL, **body})
    assert told in str(raised.value)


def test_a_plain_list_is_frozen_in_the_bytes_that_older_versions_read() -> None:
    concepts = ["dog", {"name": "beach", "kind": "place"}, {"name": "knitted", "kind": "texture"}]
    concepts.append({"name": "heron", "synonyms": ["egret"]})
    request = JobRequest.model_validate({"concepts": concepts, "captions": 5000, "seed": 11})
    spec = spec_of(**{k: v for k, v in request.model_dump().items() if k not in {"captions", "captions_per_unit"}})
    frozen = "74e58f6391fcc85d10b096a01dfb347f2a062e6c2234a062bf0c834a23237692"
    assert hashlib.sha256(spec.to_bytes()).hexdigest() == frozen
    assert spec.origin == "4: dog, beach, knitted, heron"
    assert spec.concept_count == 4


def test_a_caption_record_of_an_older_version_is_a_plain_one() -> None:
    old = {
        "caption_id": f"{JOB}-0000000000",
        "index": 0,
        "concept": "dog",
        "template": "c",
        "text": "a dog",
        "draws": 1,
    }
    record = CaptionRecord.model_validate({**old, "llm_seed": 1, "llm_model": "m"})
    assert (record.template, record.second) == (Template.CONCEPT, None)
    assert b"layout" not in record.to_bytes()


def test_a_spec_has_one_origin_and_says_which() -> None:
    recipe = spec_of(recipe=REF)
    assert (recipe.concept_count, recipe.origin, recipe.draw_seed) == (14_000, "paper (14000 concepts)", 0)
    again = spec_of(recipe=REF, captions_from=CaptionJobRef(job=JOB, seed=7), seed=1)
    assert (again.origin, again.draw_seed) == (f"paper (14000 concepts), captions of job {JOB}", 7)
    file = spec_of(captions_from=CaptionFileRef(file="cc12m", owner="ada", sha256="ab" * 32, lines=10))
    assert (file.concept_count, file.origin) == (0, "file 'cc12m' of 10 captions")
    assert all(JobSpec.from_bytes(spec.to_bytes()) == spec for spec in (recipe, again, file))
    with pytest.raises(ValidationError, match="exclude each other"):
        spec_of(recipe=REF, concepts=(Concept(name="dog"),))
    with pytest.raises(ValidationError, match="must be set"):
        spec_of()


def source(**changes: Any) -> Source:
    plain = {"name": "s", "weight": 1.0, "concepts": [{"name": "dog"}], "templates": {"c": 1}}
    return Source.model_validate({**plain, **changes})


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"templates": {"c,bg": 1}}, "needs a group"),
        ({"templates": {"c,bg": 1}, "background_of": [1], "backgrounds": [["a park"]]}, "missing or empty"),
        ({"templates": {"c,bg": 1}, "background_of": [-1], "backgrounds": [["a park"]]}, "missing or empty"),
        ({"templates": {"c+h+place": 1}, "background_of": [0], "backgrounds": [["a park"]]}, "hypernyms"),
        ({"templates": {"given": 1}}, "have no recipe"),
        ({"weight": 0}, "greater than 0"),
    ],
)
def test_a_source_holds_all_that_its_templates_need(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        source(**changes)


def test_a_recipe_is_named_by_its_content() -> None:
    recipe = Recipe(name="own", sources=(source(),))
    assert Recipe.from_bytes(recipe.to_bytes()).sha256() == recipe.sha256()
    assert Recipe(name="own", sources=(source(weight=2.0),)).sha256() != recipe.sha256()
    assert recipe.ref() == RecipeRef(sha256=recipe.sha256(), name="own", concepts=1, sources=1)
    with pytest.raises(ValidationError, match="needs relations"):
        Recipe(name="own", sources=(source(templates={"c,rel": 1}),))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"second": "a park"}, "for no other"),
        ({"pool": "background"}, "for the pools"),
        ({"caption": "a dog => a cat"}, "separates"),
        ({"caption": "a dog\nruns"}, "pattern"),
    ],
)
def test_an_example_fits_its_pool(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        PoolExample.model_validate({"id": "a", "pool": "object", "concept": "dog", "caption": "a dog", **changes})
