"""The form of a new job without scripts: errors beside their fields, the plan first, one job however often sent."""

from __future__ import annotations

import re
import threading
from typing import Any

import pytest

from synfarm.contracts import layout
from synfarm.contracts.jobs import JobSpec
from synfarm_caption_api.text_generator import GeneratorAway
from synfarm_caption_api.web import job_origin, new_job
from synfarm_caption_api.web.job_form import BadForm, default_values, read_request

FORM = {"name": "pets", "concepts": "dog: puppy\nred fox", "captions": "40", "size": "64", "seed": "7"}


def hidden(text: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', text)
    assert found is not None, name
    return found.group(1)


@pytest.mark.integration
async def test_plan_then_submit_makes_one_job(site: Any, open_page: Any) -> None:
    async with open_page() as page:
        plan = await page.post("/ui/jobs/new", data={**FORM, "action": "plan"})
        assert (plan.status_code, "Submit this job" in plan.text) == (200, True)
        assert "no render worker serves collage-s" in plan.text
        assert not list(site.store.list("jobs/"))
        form = {**FORM, "planned": hidden(plan.text, "planned"), "submission": hidden(plan.text, "submission")}
        answers = [await page.post("/ui/jobs/new", data={**form, "action": "submit"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [303, 303]
    assert answers[0].headers["location"] == answers[1].headers["location"]
    (job,) = site.store.list_folders("jobs/")
    spec = JobSpec.from_bytes(site.store.get(layout.job(job)))
    assert (spec.name, spec.captions, spec.render.size, spec.seed) == ("pets", 40, 64, 7)
    assert [(c.name, c.synonyms[:1]) for c in spec.concepts] == [
        ("dog", ("puppy",)),
        ("red fox", spec.concepts[1].synonyms[:1]),
    ]


@pytest.mark.integration
async def test_what_was_not_planned_is_not_submitted(site: Any, open_page: Any) -> None:
    async with open_page() as page:
        plan = await page.post("/ui/jobs/new", data={**FORM, "action": "plan"})
        form = {**FORM, "planned": hidden(plan.text, "planned"), "submission": hidden(plan.text, "submission")}
        changed = await page.post("/ui/jobs/new", data={**form, "captions": "4000", "action": "submit"})
    assert (changed.status_code, "The form has changed" in changed.text) == (200, True)
    assert "4,000" in changed.text
    assert not list(site.store.list("jobs/"))


_WRONG: list[tuple[dict[str, str], str, str]] = [
    ({"captions": "0"}, "captions", "greater than or equal to 1"),
    ({"captions": "many"}, "captions", "valid integer"),
    ({"size": "9"}, "size", "greater than or equal to 32"),
    ({"concepts": "dog, cat"}, "concepts", "line 1"),
    ({"concepts": "dog\nunicron"}, "concepts", "unicron"),
    ({"temperature": "9"}, "temperature", "less than or equal to 2"),
    ({"renderer": "diffusers"}, "renderer", "needs"),
    ({"name": "a/b"}, "name", "pattern"),
]


@pytest.mark.integration
async def test_an_error_stands_beside_its_field(open_page: Any) -> None:
    async with open_page() as page:
        for changes, field, words in _WRONG:
            answer = await page.post("/ui/jobs/new", data={**FORM, **changes, "action": "plan"})
            assert answer.status_code == 422
            _stands_beside(answer.text, field, words)
            assert 'value="7"' in answer.text, "what was typed is kept"


def _stands_beside(text: str, field: str, words: str) -> None:
    beside = re.search(rf'id="{field}-fault">(.*?)</p>', text, re.DOTALL)
    assert beside is not None, text
    assert words in beside.group(1)
    control = re.search(rf'<(?:input|select|textarea) id="{field}"[^>]*>', text)
    assert control is not None
    assert 'aria-invalid="true"' in control.group(0)
    assert f"{field}-fault" in control.group(0)


@pytest.mark.integration
@pytest.mark.parametrize("action", ["plan", "try"])
async def test_a_share_that_goes_to_another_prompt_is_told(open_page: Any, action: str) -> None:
    async with open_page() as page:
        wish = {**FORM, "template_c": "0.5", "template_bg": "0.5", "backgrounds": "dog: a yard", "action": action}
        answer = await page.post("/ui/jobs/new", data=wish)
    assert answer.status_code == 200
    assert "1 of 2 concepts without backgrounds: there c takes the share of c,bg." in answer.text


@pytest.mark.integration
async def test_prompts_are_tried(site: Any, open_page: Any) -> None:
    async with open_page() as page:
        tried = await page.post("/ui/jobs/new", data={**FORM, "action": "try", "tries": "2"})
        assert (tried.status_code, "4 of 4 kept" in tried.text) == (200, True)
        assert tried.text.count("Prompt and answer") == 4
        too_many = await page.post("/ui/jobs/new", data={**FORM, "action": "try", "tries": "99"})
        assert (too_many.status_code, "must be 1 to 4" in too_many.text) == (422, True)

        async def away() -> None:
            raise GeneratorAway("the LLM does not answer")

        site.generator.info = away
        answer = await page.post("/ui/jobs/new", data={**FORM, "action": "try"})
    assert (answer.status_code, "No language model server answers." in answer.text) == (503, True)
    assert site.generator.calls == 4


def test_an_untouched_form_takes_the_contracts_defaults() -> None:
    request = read_request({**default_values(), "concepts": "dog"})
    assert request.model_dump(exclude={"concepts", "captions"}) == type(request).model_validate(
        {"concepts": ["dog"], "captions": 1}
    ).model_dump(exclude={"concepts", "captions"})


DIFFUSERS = {"renderer": "diffusers", "model": "owner/name", "revision": "abc", "family": "sd15"}


@pytest.mark.parametrize(
    ("typed", "drawn"),
    [
        ({}, ("ddim", 50, 2.5, 1.0)),
        ({"preset": "fast"}, ("dpmpp2m", 25, 2.5, 0.4)),
        ({"preset": "fast", "steps": "20"}, ("dpmpp2m", 20, 2.5, 0.4)),
        ({"preset": "turbo", "guidance": "1.5"}, ("model", 4, 1.5, 1.0)),
    ],
)
def test_a_preset_gives_what_is_left_empty(typed: dict[str, str], drawn: tuple[Any, ...]) -> None:
    render = read_request({**default_values(), **DIFFUSERS, "concepts": "dog", **typed}).render
    assert (render.sampler, render.steps, render.guidance, render.guidance_until) == drawn
    assert render.preset == typed.get("preset")


def test_a_preset_of_a_collage_is_told_beside_the_renderer() -> None:
    with pytest.raises(BadForm) as raised:
        read_request({**default_values(), "concepts": "dog", "preset": "fast"})
    assert "'preset' belongs to renderer 'diffusers'" in raised.value.problems["renderer"].detail


@pytest.mark.integration
async def test_a_plan_tells_what_the_preset_makes_of_the_images(open_page: Any) -> None:
    async with open_page() as page:
        plan = await page.post("/ui/jobs/new", data={**FORM, **DIFFUSERS, "preset": "fast", "action": "plan"})
    assert plan.status_code == 200
    assert '<option value="fast" selected>fast: 35 passes</option>' in plan.text
    assert "25 steps of dpmpp2m, guidance 2.5 for the first 40 %; 35 passes through the network" in plan.text


def test_every_wrong_field_is_told_at_once() -> None:
    with pytest.raises(BadForm) as raised:
        read_request({**default_values(), "concepts": "", "captions": "x", "steps": "0"})
    assert set(raised.value.problems) == {"concepts", "captions", "steps"}


def test_a_list_beyond_reason_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_origin, "parse_concept_list", lambda text: pytest.fail("read all the same"))
    with pytest.raises(BadForm) as raised:
        read_request({**default_values(), "concepts": "x\n" * 100_001})
    assert "more than 100,000 lines" in raised.value.problems["concepts"].detail


@pytest.mark.integration
async def test_a_form_is_read_beside_the_loop_that_serves_everybody(
    open_page: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_in: list[threading.Thread] = []

    def noting(values: Any) -> Any:
        read_in.append(threading.current_thread())
        return read_request(values)

    monkeypatch.setattr(new_job, "read_request", noting)
    async with open_page() as page:
        assert (await page.post("/ui/jobs/new", data={**FORM, "action": "plan"})).status_code == 200
    assert read_in
    assert threading.current_thread() not in read_in
