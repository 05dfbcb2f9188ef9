"""Jobs by set, mix, variant and job over HTTP: bounded work whatever the size, plans, refusals, what is frozen."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from synfarm.concepts import load
from synfarm.contracts import layout
from synfarm.contracts.concepts import Concept, ConceptKind
from synfarm.contracts.jobs import JobSpec
from synfarm.contracts.recipes import PoolExample, Recipe
from synfarm_caption_api.prompts.library import FakeLibrary, Settings
from synfarm_caption_api.prompts.pools import RELATIONS, Pools
from synfarm_caption_api.submission import Submitter

pytestmark = pytest.mark.integration
SD15 = {"renderer": "diffusers", "model": "m/sd15", "family": "sd15"}
HUGE = {"captions": 150_000_000, "captions_per_unit": 64, "render": SD15}


def large_library() -> FakeLibrary:
    """As many concepts as the paper has, so that what is bounded is seen to be."""
    sizes = {"in1k": 1000, "in21k": 13_000, "cars": 196, "aircraft": 100, "food101": 101, "flowers": 102}
    sizes |= {"pets": 37, "caltech101": 102}
    sets = {name: tuple(Concept(name=f"{name} {n}") for n in range(size)) for name, size in sizes.items()}
    for name, kind, size in (("places365", "place", 365), ("sun397", "place", 397), ("dtd", "texture", 47)):
        sets[name] = tuple(Concept(name=f"{name} {n}", kind=ConceptKind(kind)) for n in range(size))
    sets["collage"], sets["demo"] = load("collage"), load("demo")
    shared = {name: Settings((("a yard", "a road"),), (0,) * len(concepts)) for name, concepts in sets.items()}
    above = {"in1k": (("entity",),) * 1000}
    return FakeLibrary(sets, backgrounds=shared, above=above, unseen=("eurosat",))


def full_pools(pools: Pools) -> Pools:
    rows = [row for row in pools.rows if row.second is None]
    for n in range(8):
        for pool, second in (("background", "a shed"), ("relation", RELATIONS[n])):
            row = {"id": f"{pool}-{n}", "pool": pool, "concept": f"pot {n}", "second": second, "caption": f"a pot {n}"}
            rows.append(PoolExample.model_validate(row))
    return Pools.of_rows(rows)


@pytest.fixture
def farm(site: Any) -> Any:
    """The application over sets of full size."""
    pools = full_pools(site.services.pools)
    submitter = Submitter(site.store, load("collage"), pools, large_library())
    site.app.state.services = dataclasses.replace(site.services, submitter=submitter)
    return site


WISHES: list[dict[str, Any]] = [
    {"mix": "paper"},
    {"mix": "release"},
    {"mix": {"in1k": 0.5, "dtd": 0.5}},
    {"concept_set": "in21k", "concept_draw": "balanced"},
    {"variant": "IN+h+Places"},
    {"variant": "IN+Places+LLM"},
    {"variant": "IN+OurBG+LLM"},
    {"variant": "ours"},
    {"concepts": ["dog", "cat"], "templates": {"c": 0.5, "c,rel": 0.5}},
]


@pytest.mark.parametrize("wish", WISHES, ids=lambda wish: " ".join(f"{k}={v}" for k, v in wish.items()))
async def test_a_job_of_150_million_captions_costs_a_few_small_requests(
    farm: Any, calls: Callable[[], list[tuple[str, str]]], wish: dict[str, Any]
) -> None:
    async with farm.client() as client:
        first = await client.post("/v1/jobs", json={**wish, **HUGE}, headers={"Idempotency-Key": "k1"})
        assert first.status_code == 201, first.text
        made = [(name, key) for name, key in calls() if not name.endswith(".answer")]
        assert len(made) <= 16, made
        writes = [key for name, key in made if name in {"create", "put"}]
        assert [key.split("/")[0] for key in writes] == ["idempotency", "recipes", "jobs", "active"]
        second = await client.post("/v1/jobs", json={**wish, **HUGE})
        assert second.status_code == 201
        again = [key for name, key in calls() if name in {"create", "put"}][len(writes) :]
        assert [key.split("/")[0] for key in again] == ["jobs", "active"]  # the recipe is shared
    specs = [JobSpec.from_bytes(farm.store.get(layout.job(answer.json()["job"]))) for answer in (first, second)]
    assert specs[0].recipe == specs[1].recipe
    assert specs[0].recipe is not None
    assert len(specs[0].to_bytes()) < 2000
    recipe = Recipe.from_bytes(farm.store.get(layout.recipe(specs[0].recipe.sha256)))
    assert recipe.ref() == specs[0].recipe


async def test_a_plan_shows_a_prompt_of_each_kind(farm: Any) -> None:
    async with farm.client() as client:
        answer = await client.post("/v1/jobs?dry_run=true", json={**WISHES[1], **HUGE})
        joined = await client.post("/v1/jobs?dry_run=true", json={"variant": "IN+h+Places", **HUGE})
    plan = answer.json()
    heads = {prompt.split("\n", 1)[0] for prompt in plan["prompts"]}
    assert len(plan["prompts"]) == len(heads) == 5
    assert plan["spec"]["recipe"]["name"] == "release"
    assert joined.json()["prompts"] == []
    assert [info.key for info in farm.store.list("")] == []


@pytest.mark.parametrize(
    ("wish", "field", "told"),
    [
        ({"concept_set": "food"}, "concept_set", "food101"),
        ({"concept_set": "eurosat"}, "concept_set", "table 9"),
        ({"mix": {"in1k": 0.5, "zzz": 0.5}}, "mix.zzz", "The sets are"),
        ({"mix": {"in1k": 0.5, "dtd": 0.4}}, "body", "in1k: 0.555556"),
        ({"mix": {"in1k": 1.0, "dtd": 0.0}}, "mix", "more than 0"),
        ({"mix": "papre"}, "mix", "paper"),
        ({"variant": "IN+LLM"}, "variant", "IN+OurBG+LLM"),
        ({"captions_from": {"job": "nonsense"}}, "captions_from.job", "26 characters"),
        ({"captions_from": {"job": "01k" + "z" * 23}}, "captions_from.job", "no job"),
        ({"concept_set": "in1k", "render": {}}, "concept_set", "diffusion model draws any concept"),
        ({"concepts": ["dog"], "concept_set": "in1k"}, "body", "concepts and concept_set"),
        ({}, "body", "exactly one of concepts, concept_set, mix, variant, captions_from"),
    ],
)
async def test_a_wish_that_cannot_be_met_is_refused_with_field_and_cure(
    farm: Any, wish: dict[str, Any], field: str, told: str
) -> None:
    async with farm.client() as client:
        answer = await client.post("/v1/jobs", json={"captions": 8, "render": SD15, **wish})
    problem = answer.json()
    assert answer.status_code == 422, answer.text
    assert problem["field"].startswith(field), problem
    assert told in f"{problem['detail']} {problem['hint']}", problem
    assert [info.key for info in farm.store.list("")] == []


async def test_a_set_that_the_collage_renderer_knows_needs_no_other(farm: Any) -> None:
    async with farm.client() as client:
        answer = await client.post("/v1/jobs", json={"concept_set": "demo", "captions": 8})
    assert answer.status_code == 201, answer.text


async def test_captions_of_another_job_are_taken_when_it_has_ended(farm: Any, renders: Any) -> None:
    theirs = renders.job(seed=5, concept_draw="balanced")
    wish = {"captions_from": {"job": theirs.job}, "captions": 40, "seed": 1}
    async with farm.client("bob") as client:
        assert (await client.post("/v1/jobs", json=wish)).json()["code"] == "unknown_job"
    async with farm.client() as client:
        assert (await client.post("/v1/jobs", json=wish)).json()["code"] == "job_not_ended"
        farm.store.delete(layout.active(theirs.job))
        more = await client.post("/v1/jobs", json={**wish, "captions": 41})
        assert (more.json()["code"], more.json()["field"]) == ("too_many_captions", "captions")
        made = await client.post("/v1/jobs", json=wish)
        assert made.status_code == 201, made.text
    spec = JobSpec.from_bytes(farm.store.get(layout.job(made.json()["job"])))
    assert (spec.concepts, spec.concept_draw, spec.draw_seed, spec.seed) == (theirs.concepts, "balanced", 5, 1)
