"""``POST /v1/backgrounds`` over a stand-in for the LLM: what it answers, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from synfarm.contracts.backgrounds import BackgroundsAnswer, BackgroundsEnd, SettingRefusal
from synfarm.contracts.jobs import JobRequest
from synfarm_caption_api.text_generator import FakeGenerator, GeneratorAway, PromptFails, PromptRefused

pytestmark = pytest.mark.integration
PLACES = ("park", "porch", "beach", "kitchen", "garden", "hill", "barn", "forest")


def listed(line: str, seed: int) -> str:
    """Three settings by the seed; ``line`` is the one that the prompt began."""
    return "".join(f" in a {PLACES[(seed >> 3 * k) % 8]}\n{line}" for k in range(3))


@pytest.fixture
def ask(site: Any) -> Callable[..., Any]:
    async def post(
        body: dict[str, Any], answer: Callable[[str, int], str | Exception] = listed, delay: float = 0.001, **more: Any
    ) -> Any:
        generator = FakeGenerator(answer, delay=delay)
        site.app.state.services = replace(site.services, generator=generator)
        async with site.client(**more) as client:
            response = await client.post("/v1/backgrounds", json=body)
        return response, generator

    return post


async def test_settings_of_each_concept(ask: Any) -> None:
    response, generator = await ask({"concepts": ["dog", "red panda"], "n": 6}, delay=1.0)
    assert response.status_code == 200
    answer = BackgroundsAnswer.from_bytes(response.content)
    assert [item.concept for item in answer.items] == ["dog", "red panda"]
    for item in answer.items:
        assert item.ended is BackgroundsEnd.FULL
        assert len(set(item.backgrounds)) == 6
        assert set(item.backgrounds) <= set(PLACES)
    assert answer.llm_model == "fake"
    assert generator.peak == 8, "concepts are asked about together"


async def test_what_is_answered_fits_a_job(ask: Any) -> None:
    response, _ = await ask({"concepts": ["dog", "owl"], "n": 4})
    items = BackgroundsAnswer.from_bytes(response.content).items
    backgrounds = {item.concept: item.backgrounds for item in items}
    JobRequest.model_validate({"concepts": ["dog", "owl"], "captions": 8, "backgrounds": backgrounds})


async def test_a_model_with_nothing_new_ends_early_and_says_so(ask: Any) -> None:
    response, generator = await ask(
        {"concepts": ["dog"], "known": {"DOG": ["park"]}, "max_rounds": 16}, lambda line, seed: f" in a park\n{line}"
    )
    (item,) = BackgroundsAnswer.from_bytes(response.content).items
    assert (item.backgrounds, item.rounds, item.ended) == ((), 2, BackgroundsEnd.DRY)
    assert item.refused == {SettingRefusal.DUPLICATE: 8, SettingRefusal.NO_PLACE: 8}
    assert generator.calls == 8


async def test_other_words_for_a_concept_name_it_too(ask: Any) -> None:
    body = {"concepts": [{"name": "dog", "synonyms": ["hound"]}], "n": 1, "max_rounds": 1}
    response, _ = await ask(body, lambda line, seed: " in a house for the hound\n- a hound in a hound kennel")
    (item,) = BackgroundsAnswer.from_bytes(response.content).items
    assert item.backgrounds == ("house",)
    assert item.refused[SettingRefusal.NAMES_CONCEPT] == 4


async def test_an_llm_that_is_away(ask: Any) -> None:
    response, _ = await ask({"concepts": ["dog"]}, lambda line, seed: GeneratorAway("no answer from the LLM"))
    problem = response.json()
    assert (response.status_code, problem["code"]) == (503, "llm_away")
    assert "/readyz" in problem["hint"]


async def test_a_prompt_that_the_llm_refuses(ask: Any) -> None:
    def answer(line: str, seed: int) -> str | Exception:
        return PromptRefused("too many tokens") if "owl" in line else listed(line, seed)

    response, _ = await ask({"concepts": ["dog", "owl"]}, answer)
    problem = response.json()
    assert (response.status_code, problem["code"], problem["field"]) == (422, "prompt_refused", "concepts.1.name")
    assert "Shorten the concept's name" in problem["hint"]


async def test_a_prompt_at_which_the_llm_fails_is_not_too_long(ask: Any) -> None:
    response, _ = await ask({"concepts": ["dog"]}, lambda line, seed: PromptFails("the LLM fails: HTTP 500"))
    problem = response.json()
    assert (response.status_code, problem["code"], problem["field"]) == (422, "prompt_refused", "concepts.0.name")
    assert "another seed" in problem["hint"]
    assert "Shorten" not in problem["hint"]


async def test_it_needs_a_key(ask: Any) -> None:
    response, generator = await ask({"concepts": ["dog"]}, who=None)
    assert response.status_code == 401
    assert generator.calls == 0


@pytest.mark.parametrize(
    ("change", "told", "field"),
    [
        ({"concepts": []}, "concepts must not be empty", "concepts"),
        ({"concepts": [f"thing {i}" for i in range(17)]}, "concepts must have at most 16", "concepts"),
        ({"concepts": ["dog", "Dog"]}, "occurs twice", "concepts"),
        (
            {"concepts": [{"name": "harbor", "kind": "place"}]},
            "'harbor' is a place: only objects have backgrounds",
            "concepts.0.kind",
        ),
        ({"n": 201}, "n must be at most 200, not 201", "n"),
        ({"n": 0}, "n must be at least 1", "n"),
        ({"max_rounds": 17}, "max_rounds must be at most 16", "max_rounds"),
        ({"temperature": 0}, "temperature must be more than 0", "temperature"),
        ({"known": {"cat": ["park"]}}, "known names 'cat', which is none of the concepts", "known.cat"),
        ({"rounds": 3}, "rounds is not a field", "rounds"),
    ],
)
async def test_what_cannot_be_asked_is_told(ask: Any, change: dict[str, Any], told: str, field: str) -> None:
    response, generator = await ask({"concepts": ["dog"], **change})
    problem = response.json()
    assert response.status_code == 422
    assert told in problem["detail"]
    assert problem["field"] == field
    assert generator.calls == 0
