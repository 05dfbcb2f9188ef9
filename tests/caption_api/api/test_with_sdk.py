"""Both Python clients against the real application in this process."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from synfarm.contracts import layout
from synfarm.contracts.backgrounds import BackgroundsRequest
from synfarm.contracts.captions import write_jsonl
from synfarm.contracts.concept_sets import ConceptSetRequest
from synfarm.contracts.ids import caption_id
from synfarm.contracts.jobs import JobRequest, JobState
from synfarm.contracts.tries import TryRequest
from synfarm.sdk import ApiError, AsyncClient, Client, ClientConfig, NotFound, Refused
from synfarm_caption_api.captioning import caption_unit
from synfarm_caption_api.prompts.draw import Drawer
from synfarm_caption_api.prompts.pools import load_pools
from synfarm_caption_api.text_generator import FakeGenerator

pytestmark = pytest.mark.integration
Call = Callable[[Callable[[Any], Any]], Any]


class _InThread(httpx.BaseTransport):
    """Lets the synchronous client speak to an ASGI application."""

    def __init__(self, app: Any) -> None:
        self._inner = httpx.ASGITransport(app, raise_app_exceptions=False)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        async def answer() -> httpx.Response:
            response = await self._inner.handle_async_request(request)
            return httpx.Response(response.status_code, headers=response.headers, content=await response.aread())

        request.read()
        return asyncio.run(answer())


@pytest.fixture(params=["sync", "async"])
def call(request: pytest.FixtureRequest, site: Any) -> Call:
    """Awaits what a client answers; ``await call(lambda c: c.jobs.get(job))``."""
    config = ClientConfig("http://farm", "http://nowhere", key=site.tokens["ada"], tries=1)

    async def run(use: Callable[[Any], Any]) -> Any:
        if request.param == "sync":

            def blocking() -> Any:
                with Client(config, transport=_InThread(site.app)) as client:
                    return use(client)

            return await asyncio.to_thread(blocking)
        async with AsyncClient(config, transport=httpx.ASGITransport(site.app)) as client:
            result = use(client)
            return await result if inspect.isawaitable(result) else result

    return run


async def test_samples_and_images(call: Call, renders: Any) -> None:
    spec = renders.job(captions=40)
    renders.commit(spec, *range(5), empty=frozenset({2}))
    page = await call(lambda c: c.jobs.samples(spec.job, limit=3))
    assert (len(page.items), page.next_cursor) == (3, 8)
    rest = await call(lambda c: c.jobs.samples(spec.job, cursor=page.next_cursor, limit=100))
    assert len({group.index for group in (*page.items, *rest.items)}) == 39
    owls = await call(lambda c: c.jobs.samples(spec.job, concept="owl", per_concept=2))
    assert [group.concept for group in owls.items] == ["owl"] * 2
    group = await call(lambda c: c.jobs.sample(spec.job, page.items[1].caption_id))
    assert group == page.items[1]
    image = await call(lambda c: c.jobs.image(spec.job, group.caption_id, 1))
    assert image == f"image {group.index}.1 ".encode() * 20
    for missing in (2, 40):
        with pytest.raises(NotFound) as caught:
            await call(lambda c, missing=missing: c.jobs.sample(spec.job, caption_id(spec.job, missing)))
        assert caught.value.code == {2: "sample_empty", 40: "sample_not_found"}[missing]
    with pytest.raises(Refused, match="no concept 'oowl'"):
        await call(lambda c: c.jobs.samples(spec.job, concept="oowl"))


async def test_damage_is_no_reason_to_ask_again(call: Call, renders: Any) -> None:
    spec = renders.job(captions=8)
    renders.commit(spec, 0)
    renders.damage(spec, 0, 700)
    with pytest.raises(ApiError) as caught:
        await call(lambda c: c.jobs.image(spec.job, caption_id(spec.job, 0), 0))
    assert (caught.value.code, caught.value.status) == ("sample_damaged", 500)
    page = await call(lambda c: c.jobs.samples(spec.job))
    assert page.damaged == (caption_id(spec.job, 0),)


async def test_what_a_job_has_written_and_what_it_gave_up(call: Call, site: Any, renders: Any) -> None:
    spec = renders.job(captions=24)
    records = await caption_unit(
        spec, 0, drawer=Drawer(spec, load_pools()), generator=FakeGenerator(), progress=lambda: None
    )
    site.store.create(layout.captions(spec.job, 0), write_jsonl(records))
    letter = {
        "job": spec.job,
        "unit": 1,
        "stage": "render",
        "fault": "unit",
        "reason": "NaN",
        "count": 3,
        "at": "2026-01-01T00:00:00Z",
    }
    site.store.create(layout.failure(spec.job, 1), json.dumps(letter).encode())
    renders.commit(spec, 0)
    captions = await call(lambda c: c.jobs.captions(spec.job, limit=5))
    assert ([record.index for record in captions.items], captions.next_cursor) == ([0, 1, 2, 3, 4], 5)
    failures = await call(lambda c: c.jobs.failures(spec.job))
    assert [failure.reason for failure in failures.items] == ["NaN"]
    shards = await call(lambda c: c.jobs.shards(spec.job))
    assert [(line.unit, line.groups) for line in shards.items] == [(0, 8)]
    assert await call(lambda c: c.jobs.spec(spec.job)) == spec


async def test_a_job_s_life(call: Call) -> None:
    request = JobRequest.model_validate({"concepts": ["dog"], "captions": 64})
    plan = await call(lambda c: c.jobs.plan(request))
    assert (plan.units, plan.images, plan.capability) == (8, 256, "collage-s")
    job = (await call(lambda c: c.jobs.submit(request))).job
    assert (await call(lambda c: c.jobs.pause(job))).state is JobState.PAUSED
    assert (await call(lambda c: c.jobs.resume(job))).state is JobState.QUEUED
    assert (await call(lambda c: c.jobs.cancel(job))).state is JobState.CANCELLING


async def test_what_becomes_of_an_ended_job(call: Call, site: Any, renders: Any) -> None:
    spec = renders.job(captions=8)
    with pytest.raises(Refused) as early:
        await call(lambda c: c.jobs.extend(spec.job, 16))
    assert early.value.code == "job_not_ended"
    renders.commit(spec, 0)
    ended = {"job": spec.job, "generation": 1, "state": "completed", "planned": 8, "counts": {"units_committed": 1}}
    rest = {"parts": [], "manifest_sha256": "0" * 64, "ended_at": "2026-01-01T00:00:00Z"}
    site.store.create(layout.ended(spec.job, 1), json.dumps({**ended, **rest}).encode())
    site.store.delete(layout.active(spec.job))
    with pytest.raises(Refused) as nothing:
        await call(lambda c: c.jobs.retry(spec.job))
    assert nothing.value.code == "nothing_to_retry"
    view = await call(lambda c: c.jobs.extend(spec.job, 16))
    assert view.planned_captions == 16
    assert (await call(lambda c: c.jobs.delete(spec.job))).reason == "being deleted"


async def test_a_file_of_captions(call: Call, tmp_path: Path) -> None:
    mine = tmp_path / "mine.txt"
    mine.write_text("".join(f"a dog on rock {n}\n" for n in range(10_002)))
    seen: list[int] = []
    made = await call(lambda c: c.caption_files.upload("mine", mine, told=lambda part: seen.append(part.lines)))
    assert (made.committed, made.parts, made.lines, seen) == (True, 2, 10_002, [10_000, 2])
    assert await call(lambda c: c.caption_files.get("mine")) == made
    assert (await call(lambda c: c.caption_files.list())).items == ("mine",)
    with pytest.raises(Refused) as again:
        await call(lambda c: c.caption_files.upload("mine", ["another"]))
    assert again.value.code == "caption_file_committed"
    with pytest.raises(ValueError, match="not a file's name"):
        await call(lambda c: c.caption_files.get("../jobs"))


async def test_a_concept_set_of_one_s_own(call: Call) -> None:
    pets = ConceptSetRequest.model_validate({"concepts": ["dog", "cat"], "backgrounds": ["a snowy yard"]})
    made = await call(lambda c: c.put_concept_set("my-pets", pets))
    assert (made.name, made.concepts, made.own) == ("my-pets", 2, True)
    assert (await call(lambda c: c.concept_sets()))[-1] == "my-pets"
    assert (await call(lambda c: c.concept_set_infos())).items[-1] == made
    found = await call(lambda c: c.concept_set("my-pets"))
    assert (found.own, found.backgrounds) == (True, ("a snowy yard",))
    request = JobRequest.model_validate({"concept_set": "my-pets", "captions": 8})
    assert (await call(lambda c: c.jobs.plan(request))).spec.recipe.concepts == 2
    assert await call(lambda c: c.delete_concept_set("my-pets")) is None
    with pytest.raises(NotFound):
        await call(lambda c: c.delete_concept_set("my-pets"))
    with pytest.raises(Refused) as ships:
        await call(lambda c: c.put_concept_set("in1k", pets))
    assert (ships.value.code, ships.value.field) == ("concept_set_ships", "name")


async def test_a_plan_with_a_price(call: Call) -> None:
    request = JobRequest.model_validate({"concepts": ["dog"], "captions": 64})
    plan = await call(lambda c: c.jobs.plan(request, price_per_gpu_hour=2.5))
    assert plan.cost is not None
    assert plan.cost.low == pytest.approx(2.5 * plan.gpu_hours.low)


async def test_the_farm(call: Call) -> None:
    assert (await call(lambda c: c.workers())).items == ()
    names = await call(lambda c: c.concept_sets())
    assert "collage" in names
    found = await call(lambda c: c.concept_set("collage"))
    assert "dog" in {concept.name for concept in found.concepts}
    with pytest.raises(NotFound):
        await call(lambda c: c.concept_set("../workers"))
    tried = await call(lambda c: c.try_captions(TryRequest.model_validate({"concepts": ["dog"], "n": 2})))
    assert [item.concept for item in tried.items] == ["dog", "dog"]


async def test_settings_of_concepts(call: Call) -> None:
    request = BackgroundsRequest.model_validate({"concepts": ["dog", "owl"], "n": 3, "known": {"Dog": ["attic"]}})
    answer = await call(lambda c: c.make_backgrounds(request))
    assert [item.concept for item in answer.items] == ["dog", "owl"]
    assert answer.llm_model == "fake"
