"""Own concept sets over HTTP: stored, named in jobs, mixes and tries, replaced under old jobs, seen by nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from synfarm.contracts import layout
from synfarm.contracts.captions import read_jsonl
from synfarm.contracts.jobs import JobSpec
from synfarm.contracts.manifests import Counts
from synfarm.contracts.pages import ConceptSetInfo, ConceptSetList
from synfarm.contracts.recipes import Recipe
from synfarm.contracts.renders import Stage, UnitTask
from synfarm.faults import Faults
from synfarm.queue.app import make_app
from synfarm.queue.board import Board
from synfarm.queue.clock import RedisClock
from synfarm.queue.dispatch import Dispatcher
from synfarm.settings import RedisSettings
from synfarm_caption_api.caption_work import CaptionWork
from synfarm_caption_api.loop_thread import LoopThread

pytestmark = pytest.mark.integration
SETS = "/v1/concept-sets"
SD15 = {"renderer": "diffusers", "model": "m/sd15", "family": "sd15"}
PETS: dict[str, Any] = {"concepts": [{"name": "dog", "synonyms": ["puppy"]}, "cat", "rabbit"], "title": "My pets"}


async def put(site: Any, name: str, who: str = "ada", **body: Any) -> ConceptSetInfo:
    async with site.client(who) as client:
        answer = await client.put(f"{SETS}/{name}", json=body)
    assert answer.status_code == 200, answer.text
    return ConceptSetInfo.from_bytes(answer.content)


async def submit(site: Any, who: str = "ada", **wish: Any) -> tuple[JobSpec, Recipe]:
    async with site.client(who) as client:
        answer = await client.post("/v1/jobs", json={"captions": 16, **wish})
    assert answer.status_code == 201, answer.text
    spec = JobSpec.from_bytes(site.store.get(layout.job(answer.json()["job"])))
    assert spec.recipe is not None
    return spec, Recipe.from_bytes(site.store.get(layout.recipe(spec.recipe.sha256)))


def names(recipe: Recipe) -> set[str]:
    return {concept.name for source in recipe.sources for concept in source.concepts}


async def test_a_set_is_stored_listed_shown_and_deleted(site: Any) -> None:
    stored = await put(site, "my-pets", **PETS, backgrounds={"Dog": ["a snowy yard"]})
    assert (stored.own, stored.concepts, stored.title, stored.source) == (True, 3, "My pets", "uploaded by ada")
    await put(site, "harbors", concepts=[{"name": "harbor", "kind": "place"}, "gull"])
    async with site.client() as client:
        listed = (await client.get(SETS)).json()
        assert listed[-2:] == ["harbors", "my-pets"]
        assert "in1k" in listed
        infos = ConceptSetList.from_bytes((await client.get(f"{SETS}?about=true")).content).items
        assert [info.name for info in infos] == listed
        assert {info.name for info in infos if info.own} == {"harbors", "my-pets"}
        assert infos[-1] == stored
        assert infos[-2].kinds == ("object", "place")
        shown = (await client.get(f"{SETS}/my-pets")).json()
        assert (shown["own"], shown["backgrounds"]) == (True, {"Dog": ["a snowy yard"]})
        assert [concept["name"] for concept in shown["concepts"]] == ["dog", "cat", "rabbit"]
        assert "own" not in (await client.get(f"{SETS}/demo")).json()
        gone = await client.delete(f"{SETS}/my-pets")
        assert (gone.status_code, gone.content) == (204, b"")
        assert (await client.get(SETS)).json()[-1] == "harbors"
        assert (await client.get(f"{SETS}/my-pets")).status_code == 404
    assert [info.key for info in site.store.list("")] == [layout.concept_set("ada", "harbors")]


async def test_a_job_draws_from_it_as_from_one_that_ships(site: Any) -> None:
    await put(site, "pets-2", **PETS, backgrounds=["a snowy yard"])
    spec, recipe = await submit(site, concept_set="pets-2")
    assert (spec.origin, names(recipe)) == ("set pets-2 (3 concepts)", {"dog", "cat", "rabbit"})
    (source,) = recipe.sources
    assert set(source.templates) == {"c", "c,rel", "c,bg"}
    assert source.backgrounds == (("a snowy yard",),)
    half = {"c": 0.5, "c,bg": 0.5}
    _, other = await submit(site, concept_set="pets-2", backgrounds={"cat": ["a sofa"]}, templates=half)
    assert {group for each in other.sources for group in each.backgrounds} == {("a snowy yard",), ("a sofa",)}


async def test_backgrounds_by_concept_are_those_of_their_concept_alone(site: Any) -> None:
    await put(site, "some", **PETS, backgrounds={"Dog": ["a snowy yard"], "cat": ["a sofa", "a roof"]})
    _, recipe = await submit(site, concept_set="some")
    told = next(source for source in recipe.sources if source.background_of)
    drawn = {c.name: told.backgrounds[group] for c, group in zip(told.concepts, told.background_of, strict=True)}
    assert drawn == {"dog": ("a snowy yard",), "cat": ("a sofa", "a roof")}
    bare = next(source for source in recipe.sources if not source.background_of)
    assert [concept.name for concept in bare.concepts] == ["rabbit"]


async def test_it_has_its_share_in_a_mix(site: Any) -> None:
    await put(site, "pets-2", **PETS)
    _, recipe = await submit(site, mix={"pets-2": 0.75, "demo": 0.25})
    shares = {source.name.partition(",")[0]: source.weight for source in recipe.sources}
    assert shares == pytest.approx({"pets-2": 0.75, "demo": 0.25})


async def test_it_can_be_tried_and_planned_and_nothing_is_written(site: Any) -> None:
    await put(site, "p" * 80, **PETS)
    kept = [info.key for info in site.store.list("")]
    async with site.client() as client:
        tried = await client.post("/v1/captions", json={"concept_set": "p" * 80, "n": 6})
        plan = await client.post("/v1/jobs?dry_run=true", json={"concept_set": "p" * 80, "captions": 16})
    assert {item["concept"] for item in tried.json()["items"]} <= {"dog", "cat", "rabbit"}
    assert plan.json()["spec"]["recipe"]["concepts"] == 3, plan.text
    assert [info.key for info in site.store.list("")] == kept


async def test_concepts_get_the_synonyms_that_a_list_of_a_job_gets(site: Any) -> None:
    await put(site, "pets-2", concepts=["cat"])
    async with site.client() as client:
        listed = (await client.post("/v1/jobs?dry_run=true", json={"concepts": ["cat"], "captions": 8})).json()
    _, drawn = await submit(site, concept_set="pets-2")
    assert list(drawn.sources[0].concepts[0].synonyms) == listed["spec"]["concepts"][0]["synonyms"] != []
    _, by_model = await submit(site, concept_set="pets-2", render=SD15)
    assert by_model.sources[0].concepts[0].synonyms == ()


class _Claim:
    def progress(self) -> None: ...

    def check(self) -> None: ...


def _written(site: Any, redis_url: str, spec: JobSpec, unit: int) -> set[str]:
    """The concepts of a unit that a caption worker writes now."""
    board, loop = Board(site.redis, site.keys, RedisClock(site.redis)), LoopThread()
    board.seed(spec.job, "e", watermark=0, frontier=0, counts=Counts(), draws=0, rejections={})
    work = CaptionWork(
        store=site.store,
        board=board,
        dispatcher=Dispatcher(make_app(RedisSettings(url=redis_url, namespace="test")), board),
        generator=site.generator,
        loop=loop,
        pools=site.services.pools,
        faults=Faults(""),
    )
    work(spec, UnitTask(job=spec.job, unit=unit, stage=Stage.CAPTION, queue="caption.normal", sequence=1), _Claim())
    loop.close()
    return {record.concept for record in read_jsonl(site.store.get(layout.captions(spec.job, unit)))}


async def test_a_set_that_is_replaced_changes_no_job_that_was_made_before(site: Any, redis_url: str) -> None:
    wish = {"concept_set": "mine", "captions": 64, "captions_per_unit": 32, "templates": {"c": 1}}
    plain = {"concept_set": "mine", "captions": 64, "captions_per_unit": 32}
    for asked in (wish, plain):
        await put(site, "mine", concepts=["dog", "cat"])
        old, _ = await submit(site, **asked)
        assert await asyncio.to_thread(_written, site, redis_url, old, 0) == {"dog", "cat"}
        await put(site, "mine", concepts=["owl", "apple"])
        assert await asyncio.to_thread(_written, site, redis_url, old, 1) == {"dog", "cat"}
        new, recipe = await submit(site, **asked)
        assert names(recipe) == {"owl", "apple"}
        assert await asyncio.to_thread(_written, site, redis_url, new, 0) == {"owl", "apple"}


async def test_sets_are_their_owner_s_alone_also_under_one_name(site: Any) -> None:
    await put(site, "mine", concepts=["dog", "cat"])
    wish = {"concept_set": "mine"}
    assert names((await submit(site, **wish))[1]) == {"dog", "cat"}
    for who in ("bob", "root"):
        async with site.client(who) as client:
            for answer in (await client.get(f"{SETS}/mine"), await client.delete(f"{SETS}/mine")):
                assert (answer.status_code, answer.json()["code"]) == (404, "concept_set_not_found")
            assert "mine" not in (await client.get(SETS)).json()
            assert "uploaded" not in (await client.get(f"{SETS}?about=true")).text
            for body in ({**wish, "captions": 8}, {"mix": {"mine": 1}, "captions": 8}):
                job = await client.post("/v1/jobs", json=body)
                assert (job.status_code, job.json()["code"]) == (422, "unknown_concept_set")
            assert (await client.post("/v1/captions", json=wish)).json()["code"] == "unknown_concept_set"
    await put(site, "mine", who="bob", concepts=["owl"])
    assert names((await submit(site, who="bob", **wish))[1]) == {"owl"}
    assert names((await submit(site, **wish))[1]) == {"dog", "cat"}


async def test_what_collage_cannot_draw_is_refused_when_a_job_is_made(site: Any) -> None:
    await put(site, "zoo", concepts=["dog", "elefant", {"name": "cat", "synonyms": ["feline overlord"]}])
    async with site.client() as client:
        for wish, field in (({"concept_set": "zoo"}, "concept_set"), ({"mix": {"zoo": 0.5, "demo": 0.5}}, "mix")):
            for query in ("", "?dry_run=true"):
                answer = await client.post(f"/v1/jobs{query}", json={**wish, "captions": 8})
                problem = answer.json()
                assert (answer.status_code, problem["code"], problem["field"]) == (422, "unknown_concept", field)
                assert "'elefant' (did you mean elephant" in problem["detail"]
                assert "'feline overlord' as 'cat'" in problem["detail"]
                assert "diffusion model" in problem["hint"]
        assert (await client.post("/v1/captions", json={"concept_set": "zoo"})).status_code == 200, "texts alone"
    assert not list(site.store.list("jobs/"))
    assert names((await submit(site, concept_set="zoo", render=SD15))[1]) == {"dog", "elefant", "cat"}


async def test_the_answer_to_a_job_is_found_again_when_its_set_is_gone(site: Any) -> None:
    await put(site, "mine", concepts=["dog", "cat"])
    body, key = {"concept_set": "mine", "captions": 8}, {"Idempotency-Key": "k1"}
    async with site.client() as client:
        first = await client.post("/v1/jobs", json=body, headers=key)
        assert (await client.delete(f"{SETS}/mine")).status_code == 204
        again = await client.post("/v1/jobs", json=body, headers=key)
        assert (first.status_code, again.status_code) == (201, 200)
        assert first.json()["job"] == again.json()["job"]
        for other, told in (({**body, "captions": 9}, key), (body, {"Idempotency-Key": "k2"}), (body, {})):
            answer = await client.post("/v1/jobs", json=other, headers=told)
            assert (answer.status_code, answer.json()["code"]) == (422, "unknown_concept_set")


async def test_a_list_of_sets_reads_the_beginning_of_each_alone(
    site: Any, calls: Callable[[], list[tuple[str, str]]]
) -> None:
    for name in ("a", "b", "c"):
        await put(site, name, concepts=[f"thing {n}" for n in range(10_000)])
    before = len(calls())
    async with site.client() as client:
        assert (await client.get(f"{SETS}?about=true")).json()["items"][-1]["concepts"] == 10_000
    assert [operation for operation, _ in calls()[before:]] == ["list", *["get_range"] * 3]


async def test_a_set_that_is_replaced_or_deleted_while_it_is_listed(site: Any) -> None:
    for name in ("a", "b", "c"):
        await put(site, name, concepts=[f"thing {n}" for n in range(1000)])
    await put(site, "c", concepts=["dog"])
    short = site.store.get(layout.concept_set("ada", "c"))
    await put(site, "c", concepts=[f"thing {n}" for n in range(1000)])

    def meanwhile(operation: str, key: str) -> None:
        if operation == "get_range" and key.endswith("/a.jsonl"):
            site.store.fault = None
            site.store.delete(layout.concept_set("ada", "a"))
            site.store.put(layout.concept_set("ada", "c"), short)

    site.store.fault = meanwhile
    async with site.client() as client:
        items = (await client.get(f"{SETS}?about=true")).json()["items"]
    assert [(item["name"], item["concepts"]) for item in items if item.get("own")] == [("b", 1000), ("c", 1)]


async def test_what_is_stored_amiss_is_told_and_harms_no_other(site: Any) -> None:
    await put(site, "good", concepts=["dog"])
    whole = site.store.get(layout.concept_set("ada", "good"))
    site.store.put(layout.concept_set("ada", "flipped"), whole.replace(b'"dog"', b'"cat"'))
    site.store.put(layout.concept_set("ada", "cut"), whole[:20])
    async with site.client() as client:
        for name in ("flipped", "cut"):
            assert (await client.get(f"{SETS}/{name}")).status_code == 503
        assert (await client.get(f"{SETS}?about=true")).status_code == 200
        assert (await client.delete(f"{SETS}/cut")).status_code == 204
        assert (await client.get(f"{SETS}/good")).status_code == 200
