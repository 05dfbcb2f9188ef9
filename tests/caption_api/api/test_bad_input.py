"""Bad input of every kind, each answered with the field at fault and what to do about it; nothing is left behind."""

from __future__ import annotations

import json
import resource
from collections.abc import AsyncIterator
from typing import Any

import pytest

from synfarm.contracts import layout

pytestmark = pytest.mark.integration
GOOD: dict[str, Any] = {"concepts": ["dog", "cat"], "captions": 100}
NONE = "01k" + "0" * 23


def body(**changes: Any) -> dict[str, Any]:
    return {key: value for key, value in {**GOOD, **changes}.items() if value is not ...}


BODIES = [
    # what is made of
    ("unknown concept", body(concepts=["dog", "elefant"]), "concepts.1.name", "elephant"),
    ("unknown set", body(concepts=..., concept_set="imagenet-9k"), "concept_set", "collage"),
    ("empty list", body(concepts=[]), "concepts", "empty"),
    ("nothing to make", body(concepts=...), None, "concepts"),
    ("two sources", body(concept_set="collage"), None, "concept_set"),
    ("a concept twice", body(concepts=["dog", "DOG"]), "concepts", "twice"),
    ("a list that is none", body(concepts="dog"), "concepts", "list"),
    ("a concept of spaces", body(concepts=["  "]), "concepts.0.name", ""),
    ("a concept with a line break", body(concepts=["dog\ncat"]), "concepts.0.name", "line"),
    ("a concept that is a number", body(concepts=[7]), "concepts.0", ""),
    ("ratios that do not sum", body(concepts=..., mix={"collage": 0.5, "pets": 0.2}), None, "sum"),
    ("negative ratio", body(concepts=..., mix={"collage": 1.5, "pets": -0.5}), None, ""),
    ("unknown mix", body(concepts=..., mix="newspaper"), None, "paper"),
    ("unknown variant", body(concepts=..., variant="IN"), "variant", "ours"),
    (
        "a concept's settings twice",
        body(backgrounds={"Dog": ["a hill"], "dog": ["a den"]}),
        "backgrounds.dog",
        "one list",
    ),
    # how many
    ("no count", body(captions=...), "captions", "missing"),
    ("zero captions", body(captions=0), "captions", "at least 1"),
    ("negative captions", body(captions=-5), "captions", "at least 1"),
    ("too many captions", body(captions=10**12), "captions", "at most"),
    ("captions in words", body(captions="many"), "captions", "whole number"),
    ("half a caption", body(captions=1.5), "captions", "whole number"),
    ("captions as a list", body(captions=[1]), "captions", "whole number"),
    ("true captions", body(captions=None), "captions", "whole number"),
    ("zero images", body(images_per_caption=0), "images_per_caption", "at least 1"),
    ("negative seed", body(seed=-1), "seed", "at least 0"),
    ("a unit too large", body(captions_per_unit=5000), "captions_per_unit", "at most 1024"),
    ("too many units", body(captions=2_000_000_000, captions_per_unit=1), "captions_per_unit", "larger"),
    # how
    ("unknown lane", body(lane="express"), "lane", "high"),
    ("unknown renderer", body(render={"renderer": "dalle"}), "render.renderer", "collage"),
    ("a model without its name", body(render={"renderer": "diffusers"}), None, "model"),
    ("infinite guidance", '{"concepts":["dog"],"captions":1,"render":{"guidance":Infinity}}', None, ""),
    ("words in no order", body(caption={"min_words": 30, "max_words": 10}), None, "min_words"),
    ("a field that is none", body(captons=5), "captons", "captions"),
    ("a name that is a path", body(name="../../etc"), "name", "begin with a letter or digit"),
    # the body itself
    ("no body", b"", "body", "Content-Type"),
    ("no JSON", b"{", "body", "JSON"),
    ("a list", b"[]", "body", "object"),
    ("null", b"null", "body", ""),
    ("not UTF-8", b'{"concepts": ["d\xff\xfeg"], "captions": 1}', "body", "UTF-8"),
    ("half a surrogate", rb'{"concepts": ["\ud800"], "captions": 1}', None, ""),
    ("very deep", b'{"concepts":' + b"[" * 50_000 + b"]" * 50_000 + b"}", None, ""),
]


@pytest.mark.parametrize(("sent", "field", "words"), [row[1:] for row in BODIES], ids=[row[0] for row in BODIES])
@pytest.mark.parametrize("query", ["", "?dry_run=true"])
async def test_a_bad_body_names_field_and_cure(site: Any, sent: Any, field: str | None, words: str, query: str) -> None:
    content = sent if isinstance(sent, bytes | str) else json.dumps(sent)
    async with site.client() as client:
        answer = await client.post(f"/v1/jobs{query}", content=content, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json"), answer.text
    problem = answer.json()
    assert problem["field"]
    assert field is None or problem["field"] == field
    assert problem["hint"]
    assert words in f"{problem['field']} {problem['detail']} {problem['hint']}"
    assert len(answer.content) < 8000
    assert not list(site.store.list(""))


async def test_a_body_of_100_mb_is_refused_early_and_costs_no_memory(site: Any) -> None:
    given = 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal given
        for _ in range(100):
            given += 1 << 20
            yield b" " * (1 << 20)

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with site.client() as client:
        told = await client.post("/v1/jobs", content=b"", headers={"Content-Length": str(100 << 20)})
        untold = await client.post("/v1/jobs", content=pieces(), headers={"Content-Type": "application/json"})
    for answer in (told, untold):
        assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
        assert answer.json()["hint"]
    assert given <= 20 << 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10


WRONG = [
    ("unknown job", "GET", f"/v1/jobs/{NONE}", 404, "job_not_found"),
    ("malformed job", "GET", "/v1/jobs/nonsense", 404, "job_not_found"),
    ("a job that is a path", "GET", "/v1/jobs/..%2F..%2Factive", 404, "not_found"),
    ("unknown job, cancelled", "POST", f"/v1/jobs/{NONE}/cancel", 404, "job_not_found"),
    ("unknown job, deleted", "DELETE", f"/v1/jobs/{NONE}", 404, "job_not_found"),
    ("another owner's job", "GET", "/v1/jobs/{theirs}", 404, "job_not_found"),
    ("another owner's job, paused", "POST", "/v1/jobs/{theirs}/pause", 404, "job_not_found"),
    ("another owner's job, deleted", "DELETE", "/v1/jobs/{theirs}", 404, "job_not_found"),
    ("another owner's job, retried", "POST", "/v1/jobs/{theirs}/retry", 404, "job_not_found"),
    ("retry of a running job", "POST", "/v1/jobs/{mine}/retry", 409, "job_not_ended"),
    ("pause of an ended job", "POST", "/v1/jobs/{ended}/pause", 409, "job_ended"),
    ("resume of an ended job", "POST", "/v1/jobs/{ended}/resume", 409, "job_ended"),
    ("cancel of an ended job", "POST", "/v1/jobs/{ended}/cancel", 409, "job_ended"),
    ("retry of a whole job", "POST", "/v1/jobs/{ended}/retry", 409, "nothing_to_retry"),
    ("expired cursor", "GET", "/v1/jobs/{mine}/captions?cursor=100", 422, "cursor_expired"),
    ("cursor of nowhere", "GET", "/v1/jobs?cursor=zzz", 422, "cursor_invalid"),
    ("limit of nothing", "GET", "/v1/jobs?limit=0", 422, "invalid_request"),
    ("unknown path", "GET", "/v1/job", 404, "not_found"),
    ("method that is none", "PUT", "/v1/jobs", 405, "method_not_allowed"),
    ("unknown set", "GET", "/v1/concept-sets/none", 404, "concept_set_not_found"),
    ("caption of another job", "GET", "/v1/jobs/{mine}/images/{theirs}-0000000000/0", 404, None),
]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG]
)
async def test_a_wrong_request_says_what_to_do(
    site: Any, method: str, path: str, status: int, code: str | None
) -> None:
    ids = {}
    for name, owner in (("mine", "ada"), ("theirs", "bob"), ("ended", "ada")):
        async with site.client(owner) as client:
            ids[name] = (await client.post("/v1/jobs", json=GOOD)).json()["job"]
    ended = {
        "job": ids["ended"],
        "generation": 1,
        "state": "completed",
        "planned": 100,
        "counts": {"units_committed": 13},
        "parts": [],
        "manifest_sha256": "0" * 64,
        "ended_at": "2026-01-01T00:00:00Z",
    }
    site.store.create(layout.ended(ids["ended"], 1), json.dumps(ended).encode())
    site.store.delete(layout.active(ids["ended"]))
    kept = [info.key for info in site.store.list("")]
    async with site.client() as client:
        answer = await client.request(method, path.format(**ids))
    problem = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert code is None or problem["code"] == code
    assert problem["hint"], problem
    assert [info.key for info in site.store.list("")] == kept


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "key_missing"),
        ("Bearer ", "key_missing"),
        ("Basic YTpi", "key_missing"),
        ("Bearer sf_wrong", "key_unknown"),
    ],
)
async def test_a_bad_key_is_refused_everywhere(site: Any, header: str | None, code: str) -> None:
    async with site.client(None) as client:
        for method, path in (("GET", "/v1/jobs"), ("POST", "/v1/jobs"), ("DELETE", f"/v1/jobs/{NONE}")):
            answer = await client.request(method, path, headers={"Authorization": header} if header else {})
            assert (answer.status_code, answer.json()["code"]) == (401, code)
            assert (answer.json()["field"], answer.headers["www-authenticate"]) == ("Authorization", "Bearer")
            assert answer.json()["hint"]


@pytest.mark.parametrize("key", ["", "with space", "x" * 256, "ümlaut"])
async def test_a_bad_idempotency_key_is_refused(site: Any, key: str) -> None:
    async with site.client() as client:
        answer = await client.post("/v1/jobs", json=GOOD, headers={"Idempotency-Key": key.encode()})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_idempotency_key")
    assert (answer.json()["field"], "UUID" in answer.json()["hint"]) == ("Idempotency-Key", True)
    assert not list(site.store.list(""))
