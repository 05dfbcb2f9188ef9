"""Trying prompts as a job would ask them: sets, mixes, templates, backgrounds and examples, by the job's own rules."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from synfarm.contracts.jobs import JobRequest
from synfarm.contracts.tries import TryAnswer, TryRequest
from synfarm_caption_api.prompts.draw import Drawer
from synfarm_caption_api.text_generator import FakeGenerator, PromptFails, PromptRefused

pytestmark = pytest.mark.integration
POOL = "pool,concept,second,caption\n" + "".join(
    f"background,pot {n},a shed,a pot of kind {n} in a dusty shed\n" for n in range(5)
)


async def tried(site: Any, body: dict[str, Any]) -> TryAnswer:
    async with site.client() as client:
        answer = await client.post("/v1/captions", json=body)
    assert answer.status_code == 200, answer.text
    return TryAnswer.from_bytes(answer.content)


async def test_n_counts_captions_of_a_set_and_captions_of_each_concept(site: Any) -> None:
    of_set = await tried(site, {"concept_set": "demo", "n": 20})
    assert len(of_set.items) == 20
    assert len({item.concept for item in of_set.items}) > 5
    of_list = await tried(site, {"concepts": ["dog", "owl", "kettle"], "n": 3, "templates": {"c": 0.5, "c,rel": 0.5}})
    assert Counter(item.concept for item in of_list.items) == {"dog": 3, "owl": 3, "kettle": 3}
    assert not list(site.store.list("")), "nothing is kept, no recipe either"


async def test_a_try_tells_template_and_second_field_as_the_prompt_has_them(site: Any) -> None:
    body = {"concepts": ["dog", "cat"], "n": 12, "templates": {"c": 0.3, "c,bg": 0.4, "c,rel": 0.3}, "seed": 5}
    answer = await tried(site, {**body, "backgrounds": {"dog": ["a snowy yard"], "cat": ["a red sofa"]}})
    assert {item.template for item in answer.items} == {"c", "c,bg", "c,rel"}
    for item in answer.items:
        asked = item.prompt.rsplit("\n", 1)[-1]
        assert asked == (f"{item.concept}, {item.second} =>" if item.second else f"{item.concept} =>")
        if item.template == "c,bg":
            assert item.second == {"dog": "a snowy yard", "cat": "a red sofa"}[item.concept]


@pytest.mark.parametrize("body", [{}, {"backgrounds": {"dog": ["a snowy yard"], "cat": ["a red sofa"]}}])
async def test_a_share_that_goes_to_another_prompt_is_told_by_the_try_and_the_plan(
    site: Any, body: dict[str, Any]
) -> None:
    wish = {"concepts": ["dog", "cat"], "templates": {"c": 0.5, "c,bg": 0.5}, **body}
    told = () if body else ("2 of 2 concepts without backgrounds: there c takes the share of c,bg.",)
    assert (await tried(site, wish)).notes == told
    async with site.client() as client:
        plan = (await client.post("/v1/jobs?dry_run=true", json={**wish, "captions": 8})).json()
    assert plan.get("notes", []) == list(told)


@pytest.mark.parametrize("wish", [{"mix": "paper"}, {"variant": "IN+Places+LLM"}, {"concept_set": "dtd"}])
async def test_a_try_is_how_a_job_begins(site: Any, wish: dict[str, Any]) -> None:
    answer = await tried(site, {**wish, "n": 6, "seed": 11})
    job = JobRequest.model_validate({**wish, "captions": 500, "seed": 11, "render": SD15})
    plan = site.services.submitter.plan(job, "ada")
    made = site.services.submitter._recipes.make(job)
    drawer = Drawer(plan.spec, site.services.pools, made.recipe)
    assert [item.prompt for item in answer.items] == [drawer.draw(index).prompt for index in range(6)]


SD15 = {"renderer": "diffusers", "model": "m/sd15", "family": "sd15"}


async def test_own_examples_and_layout_are_shown(site: Any) -> None:
    body = {
        "concepts": ["zeppelin"],
        "templates": {"c,bg": 1},
        "backgrounds": ["a harbor"],
        "examples": {"text": POOL, "use": "replace"},
        "caption": {"layout": "subject"},
    }
    (item,) = (await tried(site, body)).items
    assert item.prompt.count("in a dusty shed") == 3
    assert item.prompt.endswith("Subject: zeppelin, a harbor. Caption:")


@pytest.mark.parametrize(
    ("body", "code", "field", "part"),
    [
        ({}, "invalid_request", "body", "exactly one of concepts, concept_set, mix, variant"),
        ({"concepts": ["dog"], "mix": "paper"}, "invalid_request", "body", "concepts and mix"),
        ({"concepts": ["dog"], "n": 65}, "invalid_request", "n", "64"),
        ({"concepts": ["dog", "cat"], "n": 33}, "invalid_request", "body", "At most 64 captions at once"),
        ({"concept_set": "dem"}, "unknown_concept_set", "concept_set", "Did you mean demo"),
        ({"mix": {"demo": 0.5, "food11": 0.5}}, "unknown_concept_set", "mix.food11", "food101"),
        ({"mix": {"demo": 0.5}}, "invalid_request", "body", "sum to 0.5"),
        ({"mix": "paper", "templates": {"c": 1}}, "invalid_request", "body", "has its own"),
        ({"variant": "cc12m"}, "invalid_request", "body", "no prompt to try"),
        ({"variant": "IN+h+Places"}, "nothing_to_try", "variant", "another variant"),
        (
            {"concepts": ["dog"], "templates": {"c,bg": 1}},
            "backgrounds_missing",
            "templates",
            "1 concept has none: dog",
        ),
        ({"concepts": ["dog"], "backgrounds": {"cat": ["a yard"]}}, "unknown_concept", "backgrounds.cat", "'cat'"),
        (
            {"concepts": ["dog"], "backgrounds": {"Dog": ["a yard"], "dog": ["a hill"]}},
            "invalid_request",
            "backgrounds.dog",
            "'Dog' and 'dog', which are one concept; put their settings into one list",
        ),
        ({"concepts": ["dog"], "examples": {"text": "a,b\n"}}, "bad_pool_file", "examples.text", "line 1"),
    ],
)
async def test_what_a_job_would_refuse_is_refused_alike(
    site: Any, body: dict[str, Any], code: str, field: str, part: str
) -> None:
    async with site.client() as client:
        answer = await client.post("/v1/captions", json=body)
    told = answer.json()
    assert (answer.status_code, told["code"], told["field"]) == (422, code, field)
    assert part in told["detail"] + told["hint"]


def test_a_request_without_a_set_looks_as_before() -> None:
    body = b'{"concepts":[{"name":"dog"}],"n":2}'
    assert TryRequest.from_bytes(body).model_dump_json(exclude_unset=True).encode() == body
    assert "mix" not in TryRequest.from_bytes(body).model_dump()


@pytest.mark.parametrize(
    ("body", "field"),
    [({"concepts": ["dog", "owl"]}, "concepts.1.name"), ({"concept_set": "demo", "n": 64}, "concept_set")],
)
@pytest.mark.parametrize(("kind", "cure"), [(PromptRefused, "Shorten"), (PromptFails, "another seed")])
async def test_a_prompt_that_fails_names_what_it_was_made_of_and_the_cure(
    site: Any, body: dict[str, Any], field: str, kind: type[Exception], cure: str
) -> None:
    generator = FakeGenerator(lambda concept, seed: "a dog" if concept == "dog" else kind("HTTP 500"))
    site.app.state.services = replace(site.services, generator=generator)
    async with site.client() as client:
        answer = await client.post("/v1/captions", json=body)
    told = answer.json()
    assert (answer.status_code, told["code"], told["field"]) == (422, "prompt_refused", field)
    assert cure in told["hint"]


@pytest.mark.parametrize("by_concept", [True, False])
async def test_more_backgrounds_than_a_try_can_use_are_refused_unread(site: Any, by_concept: bool) -> None:
    most = [f"yard {n}" for n in range(1000)]
    bad = "two  spaces, which are not looked at"
    large = {f"thing {n}": [*most[:-1], bad] for n in range(17)} if by_concept else [bad] * 16_001
    async with site.client() as client:
        answer = await client.post("/v1/captions", json={"concepts": ["dog"], "backgrounds": large})
    told = answer.json()
    assert (answer.status_code, told["field"]) == (422, "backgrounds")
    assert "at most 16000" in told["detail"]
    assert "PUT /v1/concept-sets" in told["detail"]
    assert "two in a row" not in told["detail"]
    full = {f"thing {n}": most for n in range(16)}
    assert TryRequest.model_validate({"concepts": list(full), "backgrounds": full}).backgrounds
