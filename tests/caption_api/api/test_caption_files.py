"""Files of captions over HTTP: parts, commit, what is refused, and jobs that are made of them."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from synfarm.contracts import layout
from synfarm.contracts.caption_files import PART_LINES
from synfarm.contracts.jobs import JobSpec
from synfarm_caption_api.caption_files import CaptionLines

pytestmark = pytest.mark.integration
FILE = "/v1/caption-files/cc12m"
FULL = "".join(f"a dog on rock {n}\n" for n in range(PART_LINES))


async def put(client: Any, part: int, body: str | bytes, kind: str = "text/plain; charset=utf-8") -> Any:
    return await client.put(f"{FILE}/parts/{part}", content=body, headers={"Content-Type": kind})


async def test_a_file_is_uploaded_committed_and_made_into_a_job(site: Any) -> None:
    async with site.client() as client:
        first = (await put(client, 0, "\ufeff" + FULL)).json()
        assert first["lines"] == PART_LINES
        assert (await client.get(FILE)).json() == {"file": "cc12m", "committed": False, "parts": 1, "lines": PART_LINES}
        body = '{"text": "Two  herons", "concept": "heron"}\n{"text": "a beach", "concept": "beach", "kind": "place"}'
        last = (await put(client, 1, body, "application/x-ndjson")).json()
        assert (await put(client, 1, body + "\n", "application/x-ndjson")).json() == last
        shas = [first["sha256"], last["sha256"]]
        committed = await client.post(f"{FILE}/commit", json={"parts": shas})
        assert committed.json() == {"file": "cc12m", "committed": True, "parts": 2, "lines": PART_LINES + 2}
        assert (await client.post(f"{FILE}/commit", json={"parts": shas})).json() == committed.json()
        assert (await client.get(FILE)).json() == committed.json()
        assert (await client.get("/v1/caption-files")).json() == {"items": ["cc12m"]}
        wish = {"variant": "cc12m", "captions_from": {"file": "cc12m"}, "captions": 30_000}
        made = await client.post("/v1/jobs", json=wish)
        assert made.status_code == 201, made.text
        plan = (await client.post("/v1/jobs?dry_run=true", json=wish)).json()
        assert (plan["prompts"], plan["spec"]["captions_from"]["lines"]) == ([], PART_LINES + 2)
    spec = JobSpec.from_bytes(site.store.get(layout.job(made.json()["job"])))
    lines = CaptionLines(site.store)
    assert spec.captions_from is not None
    assert lines.line(spec.captions_from, 7).text == "a dog on rock 7"
    assert lines.line(spec.captions_from, PART_LINES).concept == "heron"
    assert lines.line(spec.captions_from, PART_LINES + 1).kind == "place"


async def test_a_committed_file_never_changes(site: Any) -> None:
    async with site.client() as client:
        one, two = [(await put(client, 0, text)).json()["sha256"] for text in ("a dog\n", "a cat\n")]
        assert one != two
        assert (await client.post(f"{FILE}/commit", json={"parts": [two]})).status_code == 200
        for refused in (await put(client, 0, "a cow\n"), await client.post(f"{FILE}/commit", json={"parts": [one]})):
            assert (refused.status_code, refused.json()["code"]) == (409, "caption_file_committed")
            assert "another name" in refused.json()["hint"]


@pytest.mark.parametrize(
    ("body", "kind", "told"),
    [
        (b"", "text/plain", "The part has 0 lines"),
        (b"a\n" * (PART_LINES + 1), "text/plain", "10001 lines"),
        (b"a dog\n\nx", "text/plain", "Line 2: text is empty"),
        (b"a dog\n\xff\xfe", "text/plain", "Line 2 is not UTF-8"),
        (b"a dog\x07", "text/plain", "Line 1: text"),
        (b"x" * 2001, "text/plain", "Line 1: text"),
        (b'{"text": "a dog"}\nfoo', "application/x-ndjson", "Line 2"),
        (b'{"text": "a dog", "concpet": "dog"}', "application/x-ndjson", "Line 1: concpet"),
        (b"<a/>", "text/xml", "text/xml"),
    ],
)
async def test_a_bad_part_is_refused_with_its_line(site: Any, body: bytes, kind: str, told: str) -> None:
    async with site.client() as client:
        answer = await put(client, 0, body, kind)
    assert answer.status_code == 422, answer.text
    assert told in answer.json()["detail"]
    assert answer.json()["hint"]
    assert [info.key for info in site.store.list("uploads/")] == []


async def test_a_body_without_bound_is_cut_off(site: Any) -> None:
    async with site.client() as client:
        answer = await put(client, 0, b"a" * (17 << 20))
    assert answer.status_code == 413


async def test_what_cannot_be_committed_is_refused(site: Any) -> None:
    async with site.client() as client:
        short = (await put(client, 0, "a dog\n")).json()["sha256"]
        last = (await put(client, 1, "a cat\n")).json()["sha256"]
        other = hashlib.sha256(b"x").hexdigest()
        cases = [
            ([short, last], "caption_part_short", "parts.0"),
            ([other], "caption_part_missing", "parts.0"),
            ([last], "caption_part_missing", "parts.0"),
            (["zz"], "invalid_request", "parts.0"),
            ([], "invalid_request", "parts"),
        ]
        for parts, code, field in cases:
            answer = await client.post(f"{FILE}/commit", json={"parts": parts})
            assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (422, code, field)
        job = await client.post("/v1/jobs", json={"captions_from": {"file": "cc12m"}, "captions": 1})
        assert (job.status_code, job.json()["code"]) == (422, "caption_file_missing")


async def test_files_are_their_owner_s_alone_and_names_stay_in_their_folder(site: Any) -> None:
    async with site.client() as client:
        sha = (await put(client, 0, "a dog\n")).json()["sha256"]
        await client.post(f"{FILE}/commit", json={"parts": [sha]})
        for name in ("..", "a..b", ".hidden", "a%2Fb", "x" * 81):
            answer = await client.put(f"/v1/caption-files/{name}/parts/0", content="a dog\n")
            assert answer.status_code in {404, 405, 422}, name
        assert (await client.put(f"{FILE}/parts/20000", content="a dog\n")).status_code == 422
    async with site.client("bob") as client:
        assert (await client.get(FILE)).status_code == 404
        assert (await client.get("/v1/caption-files")).json() == {"items": []}
        job = await client.post("/v1/jobs", json={"captions_from": {"file": "cc12m"}, "captions": 1})
        assert job.json()["code"] == "caption_file_missing"
    async with site.client(None) as client:
        assert (await client.get(FILE)).status_code == 401
