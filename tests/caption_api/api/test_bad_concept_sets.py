"""Own concept sets that cannot be: each refusal names the field and the cure, and nothing is left behind."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from synfarm_caption_api import concept_sets

pytestmark = pytest.mark.integration
SETS = "/v1/concept-sets"
GOOD: dict[str, Any] = {"concepts": ["dog", "cat"]}

BODIES: list[tuple[str, Any, str, str]] = [
    ("empty list", {"concepts": []}, "concepts", "empty"),
    ("no list", {}, "concepts", "missing"),
    ("a list that is none", {"concepts": "dog"}, "concepts", "list"),
    ("a concept twice", {"concepts": ["dog", "DOG"]}, "concepts", "twice"),
    ("a concept of spaces", {"concepts": [" "]}, "concepts.0.name", ""),
    ("a concept with a line break", {"concepts": ["dog\ncat"]}, "concepts.0.name", "line"),
    ("too many concepts", {"concepts": [f"thing {n}" for n in range(50_001)]}, "concepts", "50000"),
    ("unknown kind", {"concepts": [{"name": "dog", "kind": "animal"}]}, "concepts.0.kind", "texture"),
    ("backgrounds of no concept", {**GOOD, "backgrounds": {"dgo": ["a yard"]}}, "backgrounds.dgo", "dog"),
    (
        "a concept's settings twice",
        {**GOOD, "backgrounds": {"Cat": ["a yard"], "cat": ["a sofa"]}},
        "backgrounds.cat",
        "one list",
    ),
    ("empty backgrounds", {**GOOD, "backgrounds": {"dog": []}}, "backgrounds", ""),
    ("a title of two lines", {**GOOD, "title": "a\nb"}, "title", ""),
    ("a title without end", {**GOOD, "title": "a" * 121}, "title", "120"),
    ("a field that is none", {**GOOD, "concept": ["dog"]}, "concept", "concepts"),
    ("no body", b"", "body", "Content-Type"),
    ("no JSON", b"dog\ncat\n", "body", "JSON"),
    ("a bare list", ["dog"], "body", "object"),
    ("not UTF-8", b'{"concepts": ["d\xff\xfeg"]}', "body", "UTF-8"),
    ("half a surrogate", rb'{"concepts": ["\ud800"]}', "concepts.0.name", ""),
    ("half a surrogate as title", rb'{"concepts": ["dog"], "title": "\ud800"}', "title", ""),
]


@pytest.mark.parametrize(("sent", "field", "told"), [row[1:] for row in BODIES], ids=[row[0] for row in BODIES])
async def test_a_bad_body_names_field_and_cure(site: Any, sent: Any, field: str, told: str) -> None:
    content = sent if isinstance(sent, bytes) else json.dumps(sent)
    async with site.client() as client:
        answer = await client.put(f"{SETS}/mine", content=content, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json"), answer.text
    problem = answer.json()
    assert problem["field"].startswith(field), problem
    assert problem["hint"]
    assert told in f"{problem['field']} {problem['detail']} {problem['hint']}", problem
    assert len(answer.content) < 8000
    assert not list(site.store.list(""))


async def test_a_body_of_100_mb_is_refused_early(site: Any) -> None:
    given = 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal given
        for _ in range(100):
            given += 1 << 20
            yield b" " * (1 << 20)

    async with site.client() as client:
        told = await client.put(f"{SETS}/mine", content=b"", headers={"Content-Length": str(100 << 20)})
        untold = await client.put(f"{SETS}/mine", content=pieces(), headers={"Content-Type": "application/json"})
    for answer in (told, untold):
        assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert given <= 20 << 20
    assert not list(site.store.list(""))


@pytest.mark.parametrize("name", ["in1k", "collage", "IN1K", "eurosat"])
async def test_the_name_of_a_set_that_ships_or_is_held_out_is_refused(site: Any, name: str) -> None:
    async with site.client() as client:
        stored = await client.put(f"{SETS}/{name}", json=GOOD)
        deleted = await client.delete(f"{SETS}/{name}")
    for answer in (stored, deleted):
        assert (answer.status_code, answer.json()["code"]) == (409, "concept_set_ships")
        assert answer.json()["hint"]
    assert stored.json()["field"] == "name"
    assert f"my-{name.lower()}" in stored.json()["hint"]
    assert not list(site.store.list(""))


@pytest.mark.parametrize(
    "name", ["..", "a..b", ".hidden", "-x", "a%2Fb", "..%2F..%2Factive", "x" * 81, "a%0A", "a%20b", "ä"]
)
async def test_a_name_stays_in_its_folder(site: Any, name: str) -> None:
    async with site.client() as client:
        for method in ("PUT", "GET", "DELETE"):
            answer = await client.request(method, f"{SETS}/{name}", json=GOOD)
            assert answer.status_code in {404, 405, 422}, (method, answer.text)
            assert answer.json()["hint"]
        for body in ({"concept_set": "../../active"}, {"mix": {"../x": 1.0}}):
            assert (await client.post("/v1/jobs", json={**body, "captions": 8})).json()["code"] == "unknown_concept_set"
    assert not list(site.store.list(""))


async def test_a_set_that_is_not_there_cannot_be_deleted(site: Any) -> None:
    async with site.client() as client:
        await client.put(f"{SETS}/mine", json=GOOD)
        answer = await client.delete(f"{SETS}/mien")
    assert (answer.status_code, answer.json()["code"]) == (404, "concept_set_not_found")
    assert "of your own: mine." in answer.json()["detail"]
    assert answer.json()["hint"]


async def test_an_unknown_set_in_a_job_is_told_with_own_near_names(site: Any) -> None:
    async with site.client() as client:
        await client.put(f"{SETS}/garden-birds", json=GOOD)
        answer = await client.post("/v1/jobs", json={"concept_set": "garden-brids", "captions": 8})
    assert (answer.status_code, answer.json()["field"]) == (422, "concept_set")
    assert "Did you mean garden-birds" in answer.json()["hint"]


async def test_an_owner_s_sets_are_bounded_and_can_be_replaced_at_the_bound(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(concept_sets, "MOST_OWN_SETS", 2)
    async with site.client() as client:
        for name in ("a", "b", "a"):
            assert (await client.put(f"{SETS}/{name}", json=GOOD)).status_code == 200
        answer = await client.put(f"{SETS}/c", json=GOOD)
        assert (answer.status_code, answer.json()["code"]) == (409, "too_many_concept_sets")
        assert "DELETE" in answer.json()["hint"]
        await client.delete(f"{SETS}/a")
        assert (await client.put(f"{SETS}/c", json=GOOD)).status_code == 200
    async with site.client("bob") as client:
        assert (await client.put(f"{SETS}/a", json=GOOD)).status_code == 200


async def test_a_key_is_needed(site: Any) -> None:
    async with site.client(None) as client:
        for method in ("PUT", "DELETE", "GET"):
            assert (await client.request(method, f"{SETS}/mine", json=GOOD)).status_code == 401
