"""Samples and images over HTTP: spread, paged, proven, bounded, and only what was committed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from synfarm.contracts import layout
from synfarm.contracts.commits import Commit
from synfarm.contracts.concepts import Concept
from synfarm.contracts.ids import caption_id
from synfarm.contracts.jobs import JobSpec
from synfarm.contracts.origins import Template
from synfarm.contracts.recipes import Recipe, Source

pytestmark = pytest.mark.integration
Calls = Callable[[], list[tuple[str, str]]]


async def get(site: Any, path: str, who: str = "ada", **headers: str) -> Any:
    async with site.client(who) as client:
        return await client.get(path, headers=headers)


async def pages(site: Any, spec: JobSpec, query: str) -> list[list[dict[str, Any]]]:
    """The items of all pages, followed by their cursor."""
    found, cursor = [], 0
    async with site.client() as client:
        while cursor is not None:
            answer = await client.get(f"/v1/jobs/{spec.job}/samples?{query}&cursor={cursor}")
            assert answer.status_code == 200, answer.text
            page = answer.json()
            found.append(page["items"])
            cursor = page["next_cursor"]
    return found


async def test_a_job_without_commits_answers_an_empty_page(site: Any, renders: Any) -> None:
    spec = renders.job()
    answer = await get(site, f"/v1/jobs/{spec.job}/samples")
    assert (answer.status_code, answer.json()) == (200, {"items": [], "damaged": [], "next_cursor": None})


async def test_a_group_has_its_caption_its_provenance_and_images_that_can_be_fetched(site: Any, renders: Any) -> None:
    spec = renders.job()
    renders.commit(spec, 0, 1, 2, 3, 4)
    renders.note(spec, 5)
    (first, *_), *_ = await pages(site, spec, "limit=3")
    assert first["caption_id"] == caption_id(spec.job, 0)
    assert first["caption"] == first["meta"]["caption"] == f"a {first['concept']} of number 0"
    assert first["meta"]["seeds"] == [0, 1]
    assert (first["index"], first["unit"], len(first["images"])) == (0, 0, 2)
    alone = await get(site, f"/v1/jobs/{spec.job}/samples/{first['caption_id']}")
    assert alone.json() == first
    for k, path in enumerate(first["images"]):
        answer = await get(site, path)
        assert answer.content == f"image 0.{k} ".encode() * 20
        assert answer.headers["content-type"] == "image/jpeg"
        assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"


async def test_pages_are_spread_and_meet_each_group_once(site: Any, renders: Any) -> None:
    spec = renders.job(captions=80)
    renders.commit(spec, *range(10), empty=frozenset({3, 44}))
    renders.note(spec, 7)  # the others lie above the watermark
    found = await pages(site, spec, "limit=7")
    assert [item["unit"] for item in found[0]] == [0, 8, 4, 2, 6, 1, 9]
    indices = [item["index"] for page in found for item in page]
    assert sorted(indices) == [index for index in range(80) if index not in {3, 44}]
    assert all(len(page) == 7 for page in found[:-1])


async def test_a_cursor_stays_right_while_the_job_grows(site: Any, renders: Any) -> None:
    spec = renders.job(captions=160)
    renders.commit(spec, *range(5))
    async with site.client() as client:
        first = (await client.get(f"/v1/jobs/{spec.job}/samples?limit=9")).json()
        renders.commit(spec, *range(5, 20))
        renders.note(spec, 12)
        seen, cursor = {item["index"] for item in first["items"]}, first["next_cursor"]
        while cursor is not None:
            page = (await client.get(f"/v1/jobs/{spec.job}/samples?limit=50&cursor={cursor}")).json()
            new = {item["index"] for item in page["items"]}
            assert not new & seen
            seen |= new
            cursor = page["next_cursor"]
    assert seen >= set(range(40)), "what was there when the reading began"


@pytest.mark.parametrize("draw", ["uniform", "balanced"])
async def test_one_concept_alone(site: Any, renders: Any, draw: str) -> None:
    spec = renders.job(captions=120, concept_draw=draw)
    renders.commit(spec, *range(15))
    renders.note(spec, 15)
    everything = [item for page in await pages(site, spec, "limit=50") for item in page]
    wanted = {item["index"] for item in everything if item["concept"] == "red fox"}
    found = [item for page in await pages(site, spec, "limit=11&concept=Red%20%20Fox") for item in page]
    assert len(found) == len(wanted) > 20
    assert {item["index"] for item in found} == wanted
    assert {item["concept"] for item in found} == {"red fox"}


@pytest.mark.parametrize("draw", ["uniform", "balanced"])
async def test_so_many_of_each_concept(site: Any, renders: Any, draw: str) -> None:
    spec = renders.job(captions=200, concept_draw=draw)
    renders.commit(spec, *range(25), empty=frozenset(range(0, 200, 16)))
    renders.note(spec, 25)
    page = (await get(site, f"/v1/jobs/{spec.job}/samples?per_concept=4&limit=50")).json()
    assert Counter(item["concept"] for item in page["items"]) == {"dog": 4, "red fox": 4, "owl": 4}
    assert page["next_cursor"] is not None


async def test_the_row_has_the_last_word_on_its_concept(site: Any, renders: Any) -> None:
    """Commits that do not follow today's draw (an older version's) never show a wrong concept."""
    spec = renders.job()
    renders.commit(spec, 0)
    key = layout.commit(spec.job, 0)
    other = site.store.get(key).replace(b'"concept":"owl"', b'"concept":"dog"')
    site.store.put(key, other)
    found = [item for page in await pages(site, spec, "concept=owl") for item in page]
    assert found == []


async def test_an_unknown_concept_gets_near_names(site: Any, renders: Any) -> None:
    spec = renders.job()
    answer = await get(site, f"/v1/jobs/{spec.job}/samples?concept=red%20fix")
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["field"]) == (422, "concept_not_in_job", "concept")
    assert "red fox" in problem["hint"]


async def test_damage_at_rest_is_told_and_never_shown(site: Any, renders: Any) -> None:
    spec = renders.job(captions=8)
    renders.commit(spec, 0)
    commit = Commit.from_bytes(site.store.get(layout.commit(spec.job, 0)))
    hurt, well = commit.groups[5], commit.groups[2]
    renders.damage(spec, 0, hurt.members[1].offset + 3)
    page = (await get(site, f"/v1/jobs/{spec.job}/samples")).json()
    assert page["damaged"] == [hurt.caption_id]
    assert sorted(item["index"] for item in page["items"]) == [0, 1, 2, 3, 4, 6, 7]
    for path in (f"samples/{hurt.caption_id}", f"images/{hurt.caption_id}/0", f"images/{hurt.caption_id}/1"):
        answer = await get(site, f"/v1/jobs/{spec.job}/{path}")
        assert (answer.status_code, answer.json()["code"]) == (500, "sample_damaged"), path
        assert answer.headers["content-type"] == "application/problem+json"
    assert (await get(site, f"/v1/jobs/{spec.job}/images/{well.caption_id}/1")).status_code == 200


@pytest.mark.parametrize("how", ["gone", "short", "another job's", "no json"])
async def test_other_damage_at_rest(site: Any, renders: Any, how: str) -> None:
    spec = renders.job(captions=8)
    renders.commit(spec, 0)
    key = layout.commit(spec.job, 0)
    text = site.store.get(key)
    commit = Commit.from_bytes(text)
    assert commit.shard is not None
    if how == "gone":
        site.store.delete(commit.shard.key)
    elif how == "short":
        site.store.put(commit.shard.key, site.store.get(commit.shard.key)[:700])
    elif how == "no json":
        site.store.put(key, text[:-5])
    else:
        theirs = renders.job("bob", captions=8, job="01k" + "1" * 23)
        renders.commit(theirs, 0)
        site.store.put(key, site.store.get(layout.commit(theirs.job, 0)))
    last = caption_id(spec.job, 7)
    for path in (f"samples/{last}", f"images/{last}/0"):
        answer = await get(site, f"/v1/jobs/{spec.job}/{path}")
        assert (answer.status_code, answer.json()["code"]) == (500, "sample_damaged")
    page = (await get(site, f"/v1/jobs/{spec.job}/samples")).json()
    assert last in page["damaged"]
    assert page["items"] == []


async def test_damage_on_the_way_is_read_again(site: Any, renders: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = renders.job(captions=8)
    renders.commit(spec, 0)
    real, damaged_once = site.store.get_range, []

    def flaky(key: str, offset: int, length: int) -> bytes:
        data = bytearray(real(key, offset, length))
        if not damaged_once:
            damaged_once.append(key)
            data[600] ^= 1
        return bytes(data)

    monkeypatch.setattr(site.store, "get_range", flaky)
    answer = await get(site, f"/v1/jobs/{spec.job}/images/{caption_id(spec.job, 4)}/1")
    assert (answer.status_code, answer.content) == (200, b"image 4.1 " * 20)
    assert damaged_once


async def test_a_client_that_has_the_image_is_told_so_without_reading_it(site: Any, renders: Any, calls: Calls) -> None:
    spec = renders.job(captions=8, render={"image_format": "webp"})
    renders.commit(spec, 0)
    path = f"/v1/jobs/{spec.job}/images/{caption_id(spec.job, 1)}/0"
    first = await get(site, path)
    etag = first.headers["etag"]
    assert first.headers["content-type"] == "image/webp"
    assert first.headers["x-content-type-options"] == "nosniff"
    before = len([1 for operation, _ in calls() if operation == "get_range"])
    for asked in (etag, f'"other", W/{etag}', "*"):
        answer = await get(site, path, **{"If-None-Match": asked})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", etag)
    assert len([1 for operation, _ in calls() if operation == "get_range"]) == before == 1
    assert (await get(site, path, **{"If-None-Match": '"other"'})).status_code == 200
    assert (await get(site, path[:-1] + "1")).headers["etag"] != etag


async def test_the_second_image_of_a_group_needs_no_second_look_at_the_commit(
    site: Any, renders: Any, calls: Calls
) -> None:
    spec = renders.job(captions=8)
    renders.commit(spec, 0)
    for k in (0, 1):
        await get(site, f"/v1/jobs/{spec.job}/images/{caption_id(spec.job, 1)}/{k}")
    assert calls().count(("get", layout.commit(spec.job, 0))) == 1


async def test_what_is_not_there_says_why(site: Any, renders: Any) -> None:
    spec = renders.job(captions=24)
    renders.commit(spec, 0, 1, empty=frozenset({9}))
    expected = {
        caption_id(spec.job, 9): ("sample_empty", "concept_lost"),
        caption_id(spec.job, 20): ("sample_not_ready", "unit 2"),
        caption_id(spec.job, 24): ("sample_not_found", "0 to 23"),
        caption_id("01k" + "1" * 23, 0): ("sample_not_found", "no caption of job"),
        "dog": ("sample_not_found", "no caption of job"),
    }
    for asked, (code, words) in expected.items():
        for path in (f"samples/{asked}", f"images/{asked}/0"):
            answer = await get(site, f"/v1/jobs/{spec.job}/{path}")
            problem = answer.json()
            assert (answer.status_code, problem["code"], problem["field"]) == (404, code, "caption_id"), path
            assert words in problem["detail"]
    image = await get(site, f"/v1/jobs/{spec.job}/images/{caption_id(spec.job, 0)}/2")
    assert (image.status_code, image.json()["code"]) == (404, "image_not_found")
    renders.commit(spec, 2)
    late = await get(site, f"/v1/jobs/{spec.job}/samples/{caption_id(spec.job, 20)}")
    assert late.status_code == 200, "an answer of 'not yet' is not kept"


@pytest.mark.parametrize(
    "hostile",
    [
        "..%2F..%2Fjob.json",
        "{job}-0000000000.0.jpg",
        "{job}-00000000001",
        "{job}-000000000١",
        "{job}-0000000000%0A",
        "{job}-0000000000%00",
        "{upper}-0000000000",
        "x" * 65,
    ],
)
async def test_a_caption_id_cannot_steer_a_key(site: Any, renders: Any, calls: Calls, hostile: str) -> None:
    spec = renders.job(captions=8)
    renders.commit(spec, 0)
    asked = hostile.format(job=spec.job, upper=spec.job.upper())
    before = len(calls())
    for path in (f"samples/{asked}", f"images/{asked}/0"):
        answer = await get(site, f"/v1/jobs/{spec.job}/{path}")
        assert answer.status_code in {404, 422}, answer.text
    assert all("/commits/" not in key and "/shards/" not in key for _, key in calls()[before:])


async def test_samples_of_another_user_s_job_are_not_there(site: Any, renders: Any) -> None:
    spec = renders.job()
    renders.commit(spec, 0)
    first = caption_id(spec.job, 0)
    for path in ("samples", f"samples/{first}", f"images/{first}/0"):
        url = f"/v1/jobs/{spec.job}/{path}"
        refused = await get(site, url, who="bob", **{"If-None-Match": "*"})
        assert (refused.status_code, refused.json()["code"]) == (404, "job_not_found"), path
        assert (await get(site, url, who="root")).status_code == 200
        assert (await get(site, url)).status_code == 200
        async with site.client(None) as nobody:
            assert (await nobody.get(url)).status_code == 401
    theirs = renders.job("bob", job="01k" + "1" * 23)
    crossed = await get(site, f"/v1/jobs/{theirs.job}/images/{first}/0", who="bob")
    assert (crossed.status_code, crossed.json()["code"]) == (404, "sample_not_found")


@pytest.mark.parametrize(
    ("query", "field"),
    [("limit=0", "limit"), ("limit=101", "limit"), ("cursor=-1", "cursor"), ("per_concept=0", "per_concept")],
)
async def test_bad_queries_name_the_field(site: Any, renders: Any, query: str, field: str) -> None:
    spec = renders.job()
    answer = await get(site, f"/v1/jobs/{spec.job}/samples?{query}")
    assert (answer.status_code, answer.json()["field"]) == (422, field)


async def test_groups_of_a_job_by_recipe_are_found_by_concept(site: Any, renders: Any) -> None:
    sources = tuple(
        Source(name=f"s{n}", weight=n + 1.0, concepts=concepts, templates={Template.CONCEPT: 1})
        for n, concepts in enumerate([(Concept(name="dog"), Concept(name="owl")), (Concept(name="Owl"),)])
    )
    recipe = Recipe(name="r", sources=sources)
    site.store.create(layout.recipe(recipe.sha256()), recipe.to_bytes())
    plain = renders.job(job="01k" + "5" * 23)
    spec = plain.model_copy(update={"job": "01k" + "6" * 23, "concepts": (), "recipe": recipe.ref(), "seed": 3})
    site.store.create(layout.job(spec.job), spec.to_bytes())
    site.store.create(layout.active(spec.job), b"{}")
    renders.recipe = recipe
    renders.commit(spec, 0, 1, 2)
    async with site.client() as client:
        owls = (await client.get(f"/v1/jobs/{spec.job}/samples?concept=owl&limit=100")).json()
        every = (await client.get(f"/v1/jobs/{spec.job}/samples?limit=100")).json()
        none = await client.get(f"/v1/jobs/{spec.job}/samples?concept=owls")
    names = [item["concept"] for item in every["items"]]
    assert len(names) == 24
    assert {item["concept"] for item in owls["items"]} == {"owl", "Owl"}
    assert len(owls["items"]) == sum(name.casefold() == "owl" for name in names) > 12
    assert (none.status_code, none.json()["hint"]) == (422, "Did you mean: owl?")
