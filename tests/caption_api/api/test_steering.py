"""Retry, extend and delete over HTTP: refused with the reason, sent again without harm, never half-done."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from ulid import ULID

from synfarm.contracts import layout
from synfarm.contracts.generations import Opening
from synfarm.contracts.tombstones import Tombstone
from synfarm.queue.board import Board
from synfarm.queue.clock import RedisClock
from synfarm.queue.specs import read_spec
from synfarm.storage.protocol import StoreUnavailable
from synfarm_caption_api.api.reading import JobReader
from synfarm_caption_api.feeder.crew import Crew

pytestmark = pytest.mark.integration
BODY = {"concepts": ["dog", "cat"], "captions": 480}


async def make(site: Any) -> str:
    async with site.client() as client:
        return str((await client.post("/v1/jobs", json=BODY)).json()["job"])


def end(site: Any, job: str, generation: int = 1, state: str = "completed", dead: int = 0) -> None:
    body = {
        "job": job,
        "generation": generation,
        "state": state,
        "planned": 480,
        "counts": {"units_committed": 60 - dead, "units_dead": dead},
        "parts": [],
        "manifest_sha256": "0" * 64,
        "ended_at": "2026-01-01T00:00:00Z",
    }
    site.store.create(layout.ended(job, generation), json.dumps(body).encode())
    site.store.delete(layout.active(job))


async def post(site: Any, path: str, body: object = None, who: str = "ada") -> tuple[int, dict[str, Any]]:
    async with site.client(who) as client:
        answer = await client.post(path, json=body) if body is not None else await client.post(path)
    return answer.status_code, answer.json()


async def test_a_retry_opens_the_next_generation_once(site: Any) -> None:
    job = await make(site)
    status, problem = await post(site, f"/v1/jobs/{job}/retry")
    assert (status, problem["code"]) == (409, "job_not_ended")
    end(site, job, dead=2, state="failed")
    for _ in range(2):  # the answer of the first may be lost
        status, view = await post(site, f"/v1/jobs/{job}/retry")
        assert (status, view["state"]) == (202, "queued")
    opening = Opening.from_bytes(site.store.get(layout.opening(job, 2)))
    assert (opening.why, opening.captions, opening.by) == ("retry", 480, "ada")
    assert len(list(site.store.list(layout.openings_prefix(job)))) == 1


async def test_a_whole_job_has_nothing_to_retry(site: Any) -> None:
    job = await make(site)
    end(site, job)
    status, problem = await post(site, f"/v1/jobs/{job}/retry")
    assert (status, problem["code"]) == (409, "nothing_to_retry")
    assert "60" in problem["detail"]
    assert "extend" in problem["hint"]


async def test_cancelled_is_final(site: Any) -> None:
    job = await make(site)
    await post(site, f"/v1/jobs/{job}/cancel")
    end(site, job, state="cancelled", dead=1)
    for path, body in (("retry", None), ("extend", {"captions": 999})):
        status, problem = await post(site, f"/v1/jobs/{job}/{path}", body)
        assert (status, problem["code"]) == (409, "job_cancelled")


async def test_an_extension_leaves_the_frozen_spec_alone(site: Any) -> None:
    job = await make(site)
    frozen = site.store.get(layout.job(job))
    end(site, job)
    status, view = await post(site, f"/v1/jobs/{job}/extend", {"captions": 500})
    assert (status, view["planned_captions"], view["planned_units"]) == (202, 500, 63)
    assert site.store.get(layout.job(job)) == frozen
    assert read_spec(site.store, job).captions == 500
    end(site, job, generation=2)
    assert (await post(site, f"/v1/jobs/{job}/extend", {"captions": 501}))[1]["planned_units"] == 64


@pytest.mark.parametrize("captions", [0, -5, 480, 3_000_000_000, "many", 1.5])
async def test_an_extension_that_adds_nothing_is_refused(site: Any, captions: object) -> None:
    job = await make(site)
    end(site, job)
    status, problem = await post(site, f"/v1/jobs/{job}/extend", {"captions": captions})
    assert (status, problem["field"]) == (422, "captions")
    assert not list(site.store.list(layout.openings_prefix(job)))


async def test_a_crash_between_opening_and_active_mark_is_completed_by_the_same_request_alone(site: Any) -> None:
    job = await make(site)
    end(site, job, dead=1)

    def fall(operation: str, key: str) -> None:
        if operation == "create" and key.startswith("active/"):
            raise StoreUnavailable(key)

    site.store.fault = fall
    assert (await post(site, f"/v1/jobs/{job}/extend", {"captions": 500}))[0] == 503
    site.store.fault = None
    status, problem = await post(site, f"/v1/jobs/{job}/retry")
    assert (status, problem["code"]) == (409, "generation_opening")
    assert f'POST /v1/jobs/{job}/extend with {{"captions": 500}}' in problem["hint"]
    assert site.store.head(layout.active(job)) is None
    assert (await post(site, f"/v1/jobs/{job}/extend", {"captions": 500}))[0] == 202
    assert site.store.head(layout.active(job)) is not None


async def test_a_deletion_is_a_tombstone_and_an_active_mark(site: Any) -> None:
    job = await make(site)
    end(site, job)
    async with site.client() as client:
        for _ in range(2):
            answer = await client.delete(f"/v1/jobs/{job}")
            assert (answer.status_code, answer.json()["state"]) == (202, "cancelling")
            assert answer.json()["reason"] == "being deleted"
    assert Tombstone.from_bytes(site.store.get(layout.tombstone(job))).by == "ada"
    assert site.store.head(layout.active(job)) is not None
    assert site.services.flags.get(job).deleted


async def test_a_job_that_a_run_reads_is_not_deleted(site: Any) -> None:
    job, run = await make(site), str(ULID()).lower()
    end(site, job)
    site.store.create(layout.pin(job, run), b"{}")
    async with site.client() as client:
        answer = await client.delete(f"/v1/jobs/{job}")
    assert (answer.status_code, answer.json()["code"]) == (409, "job_pinned")
    assert run in answer.json()["detail"]
    assert site.store.head(layout.tombstone(job)) is None


async def test_a_run_that_pins_while_the_tombstone_is_written_wins(site: Any) -> None:
    job, run = await make(site), str(ULID()).lower()
    end(site, job)

    def pin(operation: str, key: str) -> None:
        if operation == "create" and key == layout.tombstone(job):
            site.store.fault = None
            site.store.create(layout.pin(job, run), b"{}")

    site.store.fault = pin
    async with site.client() as client:
        answer = await client.delete(f"/v1/jobs/{job}")
        assert (answer.status_code, answer.json()["code"]) == (409, "job_pinned")
        assert (await client.get(f"/v1/jobs/{job}")).json()["state"] == "completed"
    assert site.store.head(layout.tombstone(job)) is None
    assert site.store.head(layout.active(job)) is None
    assert not site.services.flags.get(job).deleted


async def test_the_purged_job_is_gone_and_its_key_makes_no_other(site: Any) -> None:
    async with site.client() as client:
        headers = {"Idempotency-Key": "k"}
        job = (await client.post("/v1/jobs", json=BODY, headers=headers)).json()["job"]
        await client.delete(f"/v1/jobs/{job}")
        for key in [info.key for info in site.store.list("") if job in info.key]:
            if key != layout.tombstone(job):
                site.store.delete(key)
        assert (await client.get(f"/v1/jobs/{job}")).status_code == 404
        assert (await client.delete(f"/v1/jobs/{job}")).status_code == 404
        assert (await client.get("/v1/jobs")).json()["items"] == []
        again = await client.post("/v1/jobs", json=BODY, headers=headers)
        assert (again.status_code, again.json()["code"]) == (409, "job_deleted")
    assert [info.key for info in site.store.list("jobs/")] == [layout.tombstone(job)]


@pytest.mark.parametrize("what", ["captions", "shards", "failures"])
async def test_a_cursor_that_no_page_gave_is_refused(site: Any, what: str) -> None:
    job = await make(site)
    async with site.client() as client:
        for cursor, code in ((481, "cursor_expired"), (-1, "invalid_request"), ("x", "invalid_request")):
            answer = await client.get(f"/v1/jobs/{job}/{what}?cursor={cursor}")
            assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (422, code, "cursor")
            assert answer.json()["hint"]
        answer = await client.get("/v1/jobs?cursor=..%2F..")
        assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (422, "cursor_invalid", "cursor")


async def test_a_webhook_is_kept_apart_and_never_shown(site: Any) -> None:
    secret = "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldY"
    hook = {"url": "https://example.org/hook", "secret": secret}
    async with site.client() as client:
        answer = await client.post("/v1/jobs", json={**BODY, "webhook": hook})
        job = answer.json()["job"]
        seen = answer.text + (await client.get(f"/v1/jobs/{job}/spec")).text
        plan = (await client.post("/v1/jobs?dry_run=true", json={**BODY, "webhook": hook})).text
        for bad in ("ftp://x", "https://u:p@example.org/", "https://", "https://example.org:x/", "https://a b/"):
            refused = await client.post("/v1/jobs", json={**BODY, "webhook": {"url": bad}})
            assert (refused.status_code, refused.json()["field"]) == (422, "webhook.url")
        refused = await client.post("/v1/jobs", json={**BODY, "webhook": {**hook, "secret": "short"}})
        assert (refused.status_code, refused.json()["field"]) == (422, "webhook.secret")
    assert json.loads(site.store.get(layout.webhook(job))) == hook
    assert secret not in seen + plan + site.store.get(layout.job(job)).decode()


async def test_what_is_remembered_costs_nothing_and_hides_no_change(site: Any) -> None:
    flags, board = site.services.flags, Board(site.redis, site.keys, RedisClock(site.redis))
    patient = JobReader(site.store, board, flags, Crew(site.redis, site.keys), fresh_seconds=600)
    site.app.state.services = dataclasses.replace(site.services, jobs=patient)
    job = await make(site)
    asked: list[str] = []
    async with site.client() as client:
        await client.get(f"/v1/jobs/{job}")
        site.store.fault = lambda operation, key: asked.append(key)
        for _ in range(20):
            assert (await client.get(f"/v1/jobs/{job}")).json()["state"] == "queued"
        assert asked == []
        site.store.fault = None
        await client.post(f"/v1/jobs/{job}/pause")
        assert (await client.get(f"/v1/jobs/{job}")).json()["state"] == "paused"
        assert (await client.delete(f"/v1/jobs/{job}")).status_code == 202
        assert (await client.get(f"/v1/jobs/{job}")).json()["reason"] == "being deleted"
