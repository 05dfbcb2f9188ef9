"""What a new job captions: each choice of the form becomes its request, and each fault stands beside its field."""

from __future__ import annotations

import html
import json
import re
from typing import Any

import pytest

from synfarm.concepts import Lexicon, load, set_names
from synfarm.contracts import layout
from synfarm.contracts.captions import CaptionRecord, write_jsonl
from synfarm.contracts.ids import caption_id
from synfarm.contracts.jobs import JobRequest, JobSpec
from synfarm.contracts.tries import TryRequest
from synfarm.storage.protocol import StoreUnavailable
from synfarm_caption_api.web import job_origin
from synfarm_caption_api.web.job_form import BadForm, default_values, read_request
from synfarm_caption_api.web.job_origin import CHOICES, DRAWN_BY_COLLAGE, MIXES, VARIANTS

FORM = {"name": "pets", "captions": "40", "size": "64", "seed": "7"}
GPU = {"renderer": "diffusers", "model": "m/sd15", "revision": "abc", "family": "sd15"}
DOGS = {"concepts": "dog\nred fox"}


def hidden(text: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', text)
    assert found is not None, name
    return found.group(1)


async def upload(site: Any, name: str, *, commit: bool = True) -> None:
    async with site.client() as client:
        part = await client.put(f"/v1/caption-files/{name}/parts/0", content="a red dog.\na blue dog.\n")
        if commit:
            body = {"parts": [part.json()["sha256"]]}
            assert (await client.post(f"/v1/caption-files/{name}/commit", json=body)).status_code == 200


async def finished(site: Any, captions: int = 8) -> str:
    async with site.client() as client:
        body = {"name": "old", "concepts": ["dog"], "captions": captions}
        job = str((await client.post("/v1/jobs", json=body)).json()["job"])
    record = CaptionRecord(
        caption_id=caption_id(job, 0), index=0, concept="dog", text="a dog", draws=1, llm_seed=0, llm_model="m"
    )
    site.store.create(layout.captions(job, 0), write_jsonl([record]))
    ended = {"job": job, "generation": 1, "state": "completed", "planned": captions, "counts": {}, "parts": []}
    ended |= {"manifest_sha256": "0" * 64, "ended_at": "2026-01-01T00:00:00Z"}
    site.store.create(layout.ended(job, 1), json.dumps(ended).encode())
    site.store.delete(layout.active(job))
    return job


_WANTED: list[tuple[dict[str, str], dict[str, object]]] = [
    ({"what": "concepts", **DOGS}, {"concepts": ["dog", "red fox"]}),
    ({"what": "concept_set", "concept_set": "demo"}, {"concept_set": "demo"}),
    ({"what": "mix", "mix": "paper", **GPU}, {"mix": "paper"}),
    ({"what": "mix", "mix": "release", "mix_shares": "in1k 1", **GPU}, {"mix": "release"}),
    (
        {"what": "mix", "mix": "own", "mix_shares": "food101 0.75\n# half of it\ndtd = 0.25", **GPU},
        {"mix": {"food101": 0.75, "dtd": 0.25}},
    ),
    ({"what": "variant", "variant": "IN+h+Places", **GPU}, {"variant": "IN+h+Places"}),
    ({"what": "file", "file": "mine"}, {"captions_from": {"file": "mine"}}),
    ({"what": "job", "from_job": "01k" + "0" * 23}, {"captions_from": {"job": "01k" + "0" * 23}}),
    (
        {"what": "concepts", **DOGS, "template_c": "0.4", "template_bg": "0.6", "backgrounds": "beach\nsnow, a forest"},
        {
            "concepts": ["dog", "red fox"],
            "templates": {"c": 0.4, "c,bg": 0.6},
            "backgrounds": ["beach", "snow", "a forest"],
        },
    ),
    (
        {"what": "concept_set", "concept_set": "demo", "backgrounds": "dog: beach, snow  # both\ncat: sofa"},
        {"concept_set": "demo", "backgrounds": {"dog": ["beach", "snow"], "cat": ["sofa"]}},
    ),
]


@pytest.mark.parametrize(("form", "body"), _WANTED)
def test_each_choice_is_the_request_of_the_same_name(form: dict[str, str], body: dict[str, object]) -> None:
    wanted = read_request({**default_values(), **FORM, **form})
    same = {"name": "pets", "captions": 40, "seed": 7, "render": {"size": 64}}
    if form.get("renderer"):
        same["render"] = {"size": 64, **GPU}
    assert wanted == JobRequest.model_validate({**same, **body})


def test_what_belongs_to_another_choice_stays_out_of_the_job() -> None:
    form = {**default_values(), **FORM, "concepts": "dog\nunicron", "mix_shares": "?", "file": "mine"}
    assert read_request({**form, "what": "concept_set"}).concepts == ()


_WRONG: list[tuple[dict[str, str], str, str]] = [
    ({"what": "everything"}, "what", "choose what to caption"),
    ({"what": "concepts", "concepts": "dog, cat"}, "concepts", "line 1"),
    ({"what": "concepts", "concepts": "dog\nunicron"}, "concepts", "diffusers, under More"),
    ({"what": "concept_set", "concept_set": ""}, "concept_set", "choose a set"),
    ({"what": "concept_set", "concept_set": "in2k"}, "concept_set", "Did you mean in"),
    ({"what": "concept_set", "concept_set": "in1k"}, "concept_set", "of the sets it draws demo and collage"),
    ({"what": "concept_set", "concept_set": "eurosat"}, "concept_set", "no job draws it"),
    ({"what": "mix", "mix": "paper"}, "mix", "cannot draw"),
    ({"what": "mix", "mix": "both"}, "mix", "no mix that ships"),
    ({"what": "mix", "mix": "own"}, "mix_shares", "in1k 0.5"),
    ({"what": "mix", "mix": "own", "mix_shares": "in1k 0.5\ndtd much"}, "mix_shares", "line 2"),
    ({"what": "mix", "mix": "own", "mix_shares": "in1k nan"}, "mix_shares", "line 1"),
    ({"what": "mix", "mix": "own", "mix_shares": "in1k 0.5\nin1k 0.5"}, "mix_shares", "in1k has a share already"),
    ({"what": "mix", "mix": "own", "mix_shares": "in1k 0.5\ndtd 0.3"}, "mix_shares", "in the same proportions: in1k"),
    ({"what": "mix", "mix": "own", "mix_shares": "in1k 0.5\ndtt 0.5", **GPU}, "mix", "Did you mean dtd"),
    ({"what": "mix", "concept_draw": "balanced", **GPU}, "concept_draw", "needs one list or set"),
    ({"what": "variant", "variant": "IN+Other"}, "variant", "IN+h+Places"),
    ({"what": "file"}, "file", "name a file"),
    ({"what": "file", "file": "a/b"}, "file", "pattern"),
    ({"what": "file", "file": "mine"}, "file", "There is no file of captions"),
    ({"what": "job"}, "from_job", "give the id of a job"),
    ({"what": "job", "from_job": "latest"}, "from_job", "is no id of a job"),
    ({"what": "job", "from_job": "01k" + "9" * 23}, "from_job", "on the job&#39;s page"),
    ({**DOGS, "template_c": "0.5"}, "templates", "in the same proportions: c"),
    ({**DOGS, "template_c": "1.5"}, "template_c", "less than or equal to 1"),
    ({**DOGS, "template_bg": "some"}, "template_bg", "valid number"),
    ({**DOGS, "template_bg": "1"}, "templates", "Write own backgrounds for them"),
    ({"what": "mix", "template_c": "1", **GPU}, "templates", "leave them out"),
    ({"what": "mix", "backgrounds": "beach", **GPU}, "backgrounds", "leave them out"),
    ({**DOGS, "backgrounds": "beach\ndog: snow"}, "backgrounds", "line 2: name a concept on every line"),
    ({**DOGS, "backgrounds": "dog: snow,, beach"}, "backgrounds", "line 1"),
    ({**DOGS, "backgrounds": "dig: snow"}, "backgrounds", "Did you mean dog"),
]


@pytest.mark.integration
@pytest.mark.parametrize(("form", "field", "words"), _WRONG)
async def test_a_fault_stands_beside_its_field_with_its_cure(
    open_page: Any, form: dict[str, str], field: str, words: str
) -> None:
    async with open_page() as page:
        answer = await page.post("/ui/jobs/new", data={**FORM, **form, "action": "plan"})
    assert answer.status_code == 422, answer.text
    beside = re.search(rf'id="{field}-fault">(.*?)</p>', answer.text, re.DOTALL)
    assert beside is not None, re.findall(r'id="(\w*)-fault">(.*?)</p>', answer.text, re.DOTALL)
    assert words in beside.group(1)
    assert "/v1/" not in beside.group(1) or field == "file"
    control = re.search(rf'<(?:input|select|textarea|fieldset)[^>]* id="{field}"[^>]*>', answer.text)
    assert control is not None
    assert f"{field}-fault" in control.group(0)
    if field not in {"what", "concept_set", "mix", "variant"}:  # of which there is no option to show
        for name in form.keys() & {"mix_shares", "backgrounds", "concepts", "template_c", "file", "from_job"}:
            assert html.escape(form[name]) in answer.text, "what was typed is kept"
    if form.get("what", "concepts") in CHOICES:
        what = form.get("what", "concepts")
        assert f'id="what-{what}" name="what" value="{what}" checked' in answer.text
    under_more = re.search(r'<details id="more" (open)?>', answer.text)
    assert under_more is not None
    hidden_fields = {"templates", "template_c", "template_bg", "backgrounds", "concept_draw"}
    assert under_more.group(1) is not None or field not in hidden_fields


@pytest.mark.integration
@pytest.mark.parametrize("what", ["concept_set", "file", "job"])
async def test_a_plan_of_another_origin_becomes_its_job(site: Any, open_page: Any, what: str) -> None:
    await upload(site, "mine")
    old = await finished(site)
    form = {**FORM, "captions": "8", "what": what, "concept_set": "demo", "file": "mine", "from_job": old}
    async with open_page() as page:
        plan = await page.post("/ui/jobs/new", data={**form, "action": "plan"})
        assert plan.status_code == 200, plan.text
        assert {"concept_set": "set demo", "file": "of 2 captions", "job": f"captions of job {old}"}[what] in plan.text
        assert ("A prompt of each kind" in plan.text) == (what == "concept_set")
        form |= {"planned": hidden(plan.text, "planned"), "submission": hidden(plan.text, "submission")}
        answer = await page.post("/ui/jobs/new", data={**form, "action": "submit"})
    assert answer.status_code == 303, answer.text
    spec = JobSpec.from_bytes(site.store.get(layout.job(answer.headers["location"].rpartition("/")[2])))
    assert (spec.recipe is not None, spec.captions_from is not None) == (what == "concept_set", what != "concept_set")


@pytest.mark.integration
async def test_the_form_names_what_there_is(site: Any, open_page: Any) -> None:
    await upload(site, "mine")
    await upload(site, "begun", commit=False)
    old, running = await finished(site), (await _running(site))
    async with open_page() as page:
        text = (await page.get("/ui/jobs/new")).text
        again = (await page.get(f"/ui/jobs/new?captions_of={old}")).text
        assert (await page.get(f"/ui/jobs/new?captions_of={'0' * 26}")).status_code == 404
        half = await page.post("/ui/jobs/new", data={**FORM, "what": "file", "file": "begun", "action": "plan"})
    for name in set_names():
        assert f'<option value="{name}"' in text
    for value in (*MIXES, *VARIANTS):
        assert f'<option value="{value}"' in text
    assert "Yours: begun, mine." in text
    assert f'<option value="{old}">' in text
    assert running not in text
    assert 'value="job" checked' in again
    assert f'name="from_job" type="text" value="{old}"' in again
    assert 'name="captions" type="number" value="8"' in again
    assert half.status_code == 422


async def _running(site: Any) -> str:
    async with site.client() as client:
        return str((await client.post("/v1/jobs", json={"concepts": ["dog"], "captions": 8})).json()["job"])


@pytest.mark.integration
async def test_without_the_store_what_was_typed_is_kept(site: Any, open_page: Any) -> None:
    def fall(operation: str, key: str) -> None:
        raise StoreUnavailable(key)

    async with open_page() as page:
        site.store.fault = fall
        assert (await page.get("/ui/jobs/new")).status_code == 200
        answer = await page.post("/ui/jobs/new", data={**FORM, "concepts": "dog\nred fox", "action": "plan"})
    assert (answer.status_code, "press the button again" in answer.text) == (503, True)
    assert "dog\nred fox</textarea>" in answer.text


def prompts_in(text: str) -> list[str]:
    """What each tried prompt asks for: its last line."""
    found = re.findall(r'<pre tabindex="0">(.*?)<b>', text, re.DOTALL)
    return [html.unescape(prompt).rsplit("\n", 1)[-1] for prompt in found]


_TRIED: list[dict[str, str]] = [
    {"what": "concept_set", "concept_set": "dtd"},
    {"what": "concept_set", "concept_set": "demo", "template_bg": "1", "backgrounds": "a red harbor"},
    {"what": "mix", "mix": "paper", **GPU},
    {"what": "mix", "mix": "own", "mix_shares": "food101 0.5\ndtd 0.5", "template_c": "1", **GPU},
    {"what": "variant", "variant": "IN+Places+LLM", **GPU},
]


@pytest.mark.integration
@pytest.mark.parametrize("form", _TRIED)
async def test_a_set_mix_or_variant_is_tried_as_its_job_begins(site: Any, open_page: Any, form: dict[str, str]) -> None:
    async with open_page() as page:
        tried = await page.post("/ui/jobs/new", data={**FORM, **form, "action": "try", "tries": "2"})
    assert (tried.status_code, "16 of 16 kept" in tried.text) == (200, True), tried.text
    assert "of your concepts only" not in tried.text
    wanted = read_request({**default_values(), **FORM, **form})
    body = {name: getattr(wanted, name) for name in ("concept_set", "mix", "variant", "templates", "backgrounds")}
    asked = TryRequest.model_validate({**{k: v for k, v in body.items() if v is not None}, "n": 16, "seed": 7})
    drawer = site.services.submitter.trial(asked, "ada").drawer
    assert prompts_in(tried.text) == [drawer.draw(i).prompt.rsplit("\n", 1)[-1] for i in range(16)]
    if "backgrounds" in form:
        assert all(", a red harbor =>" in prompt for prompt in prompts_in(tried.text))


@pytest.mark.integration
async def test_own_backgrounds_stand_in_the_tried_prompts(open_page: Any) -> None:
    names = ["dog", "cat", "owl", "red fox", "apple", "kettle", "car", "bus", "boat"]
    lists = "\n".join(f"{name}: yard {place}" for place, name in enumerate(names))
    form = {**FORM, "concepts": "\n".join(names), "template_bg": "1", "backgrounds": lists, "action": "try"}
    async with open_page() as page:
        tried = await page.post("/ui/jobs/new", data=form)
        assert tried.status_code == 200, tried.text
        assert sorted(prompts_in(tried.text)) == sorted(f"{name}, yard {i} =>" for i, name in enumerate(names[:8]))
        assert "The first 8 of your concepts only" in tried.text
        unknown = await page.post("/ui/jobs/new", data={**form, "backgrounds": f"{lists}\ndig: snow"})
        assert (unknown.status_code, "Did you mean dog" in unknown.text) == (422, True)
        # Those of what is left out alone: as if there were none.
        bare = await page.post("/ui/jobs/new", data={**form, "backgrounds": "boat: a harbor"})
        assert (bare.status_code, "Write own backgrounds for them" in bare.text) == (422, True)


@pytest.mark.integration
async def test_captions_that_exist_have_no_prompt_to_try(site: Any, open_page: Any) -> None:
    await upload(site, "mine")
    async with open_page() as page:
        answer = await page.post("/ui/jobs/new", data={**FORM, "what": "file", "file": "mine", "action": "try"})
        joined = {"what": "variant", "variant": "IN+h+Places", **GPU}
        other = await page.post("/ui/jobs/new", data={**FORM, **joined, "action": "try"})
    assert (answer.status_code, "these captions exist already" in answer.text) == (422, True)
    assert (other.status_code, "try another variant" in other.text) == (422, True)


@pytest.mark.integration
async def test_own_sets_are_listed_tried_and_made_into_jobs(site: Any, open_page: Any) -> None:
    async with site.client() as client:
        own = {"concepts": ["dog", "cat"], "title": "<b>Pets</b>"}
        assert (await client.put("/v1/concept-sets/my-pets", json=own)).status_code == 200
        assert (await client.put("/v1/concept-sets/plain", json={"concepts": ["owl"]})).status_code == 200
    form = {**FORM, "what": "concept_set", "concept_set": "my-pets"}
    async with open_page("bob") as page:
        text = (await page.get("/ui/jobs/new")).text
        assert 'label="Yours"' not in text
        assert "my-pets" not in text
        refused = await page.post("/ui/jobs/new", data={**form, "action": "plan"})
        assert (refused.status_code, "There is no concept set" in html.unescape(refused.text)) == (422, True)
    async with open_page() as page:
        text = (await page.get("/ui/jobs/new")).text
        assert text.index('label="Yours"') < text.index('label="Drawn by collage')
        assert '<option value="my-pets">my-pets (2): &lt;b&gt;Pets&lt;/b&gt;</option>' in text
        assert '<option value="plain">plain (1)</option>' in text
        tried = await page.post("/ui/jobs/new", data={**form, "action": "try", "tries": "2"})
        assert "16 of 16 kept" in tried.text
        plan = await page.post("/ui/jobs/new", data={**form, "action": "plan"})
        assert "set my-pets" in plan.text
        form |= {"planned": hidden(plan.text, "planned"), "submission": hidden(plan.text, "submission")}
        assert (await page.post("/ui/jobs/new", data={**form, "action": "submit"})).status_code == 303


def test_the_sets_that_collage_draws_are_those_that_the_form_says() -> None:
    drawable = Lexicon(load("collage"))
    whole = {name for name in set_names() if all(drawable.find(concept.name) for concept in load(name))}
    assert whole == set(DRAWN_BY_COLLAGE)


def test_a_text_beyond_reason_is_refused_before_it_is_read() -> None:
    for field, what in (("backgrounds", "concepts"), ("mix_shares", "mix")):
        form = {**default_values(), "concepts": "dog", "what": what, "mix": "own", field: "x\n" * 100_001}
        with pytest.raises(BadForm) as raised:
            read_request(form)
        assert "more than 100,000 lines" in raised.value.problems[field].detail
    with pytest.raises(BadForm) as raised:
        read_request({**default_values(), "concepts": "dog", "backgrounds": "dog: " + ",".join(["x"] * 1001)})
    assert "more than 1,000" in raised.value.problems["backgrounds"].detail


def test_a_line_of_backgrounds_is_counted_before_each_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_origin, "_phrase", lambda text, number: pytest.fail("read all the same"))
    with pytest.raises(BadForm) as raised:
        read_request({**default_values(), "concepts": "dog", "backgrounds": "ab," * 1000 + "ab"})
    assert raised.value.problems["backgrounds"].detail == "line 1: more than 1,000 backgrounds; leave some out"
    monkeypatch.undo()
    whole = ",".join(f"yard {i}" for i in range(1000))
    wanted = read_request({**default_values(), "concepts": "dog", "backgrounds": whole})
    assert len(wanted.backgrounds or ()) == 1000
