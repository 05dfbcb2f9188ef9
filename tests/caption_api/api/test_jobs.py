"""Making, seeing and ending jobs over HTTP: idempotency at each crash, owners apart, errors that help."""

from __future__ import annotations

import json
from typing import Any

import pytest
from redis import Redis

from synfarm.contracts import layout
from synfarm.contracts.jobs import JobSpec
from synfarm.storage.protocol import StoreUnavailable

pytestmark = pytest.mark.integration
BODY = {"name": "pets", "concepts": ["dog", "cat"], "captions": 480}


async def make(
    site: Any, who: str = "ada", key: str | None = None, body: object = BODY
) -> tuple[int, dict[str, object]]:
    async with site.client(who) as client:
        answer = await client.post("/v1/jobs", json=body, headers={"Idempotency-Key": key} if key else {})
    return answer.status_code, answer.json()


async def test_a_job_is_frozen_and_active(site: Any) -> None:
    status, view = await make(site)
    job = str(view["job"])
    assert (status, view["state"], view["owner"], view["planned_units"]) == (201, "queued", "ada", 60)
    spec = JobSpec.from_bytes(site.store.get(layout.job(job)))
    assert spec.captions_per_unit == 8
    assert "puppy" in spec.concepts[0].synonyms
    assert site.store.head(layout.active(job)) is not None
    async with site.client() as client:
        assert (await client.get(f"/v1/jobs/{job}")).json()["job"] == job
        assert (await client.get("/v1/jobs")).json()["items"][0]["job"] == job


async def test_the_size_of_a_job_costs_nothing(site: Any) -> None:
    writes: list[str] = []
    site.store.fault = lambda operation, key: writes.append(operation) if operation in {"put", "create"} else None
    status, view = await make(site, key="k", body={**BODY, "captions": 2_000_000_000, "captions_per_unit": 1024})
    assert (status, view["planned_units"]) == (201, 1_953_125)
    assert writes == ["create"] * 3


async def test_a_dry_run_writes_nothing_and_shows_prompts(site: Any) -> None:
    async with site.client() as client:
        answer = await client.post("/v1/jobs?dry_run=true", json=BODY)
    plan = answer.json()
    assert (answer.status_code, plan["units"], plan["images"], len(plan["prompts"])) == (200, 60, 1920, 3)
    assert plan["prompts"][0].endswith(" =>")
    assert plan["capability"] == "collage-s"
    assert 10_000 < plan["estimated_bytes"] / plan["images"] < 60_000
    assert not list(site.store.list(""))


@pytest.mark.parametrize("stop_at", ["idempotency/", "jobs/", "active/"])
async def test_a_replay_completes_what_a_crash_left_half_made(site: Any, stop_at: str) -> None:
    def fall(operation: str, key: str) -> None:
        if operation == "create" and key.startswith(stop_at):
            raise StoreUnavailable(key)

    site.store.fault = fall
    status, problem = await make(site, key="k1")
    assert (status, problem["code"]) == (503, "store_away")
    async with site.client() as client:
        site.store.fault = None
        assert (await client.get("/v1/jobs")).json()["items"] == []
    _, view = await make(site, key="k1")
    _, again = await make(site, key="k1")
    assert view["job"] == again["job"]
    assert len(list(site.store.list_folders("jobs/"))) == 1
    assert len(list(site.store.list("active/"))) == 1


async def test_a_key_means_one_body_and_one_owner(site: Any) -> None:
    first = await make(site, key="k")
    assert first[0] == 201
    assert (await make(site, key="k"))[0] == 200
    status, problem = await make(site, key="k", body={**BODY, "captions": 481})
    assert (status, problem["code"], problem["field"]) == (409, "idempotency_key_reused", "Idempotency-Key")
    status, other = await make(site, who="bob", key="k")
    assert status == 201
    assert other["job"] != first[1]["job"]
    assert (await make(site, key="with space"))[1]["code"] == "invalid_idempotency_key"


async def test_a_replay_does_not_wake_an_ended_job(site: Any) -> None:
    _, view = await make(site, key="k")
    job = str(view["job"])
    end(site, job)
    status, again = await make(site, key="k")
    assert (status, again["state"]) == (200, "completed")
    assert site.store.head(layout.active(job)) is None
    async with site.client() as client:
        answer = await client.post(f"/v1/jobs/{job}/cancel")
    assert (answer.status_code, answer.json()["code"]) == (409, "job_ended")


def end(site: Any, job: str) -> None:
    body = {
        "job": job,
        "generation": 1,
        "state": "completed",
        "planned": 480,
        "counts": {},
        "parts": [],
        "manifest_sha256": "0" * 64,
        "ended_at": "2026-01-01T00:00:00Z",
    }
    site.store.create(layout.ended(job, 1), json.dumps(body).encode())
    site.store.delete(layout.active(job))


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"concepts": ["dog", "elefant"]}, "concepts.1.name", "elephant"),
        ({"concepts": [{"name": "dog", "synonyms": ["dogge"]}]}, "concepts.0.synonyms.0", "dog"),
        ({"concepts": [{"name": "dog", "synonyms": ["cat"]}]}, "concepts.0.synonyms.0", ""),
        ({"captions": 0}, "captions", "openapi"),
        ({"captons": 5}, "captons", "captions"),
        ({"concepts": ["dog", "Dog"]}, "concepts", "twice"),
        ({"concepts": []}, "concepts", "empty"),
        ({"captions": 3_000_000_000}, "captions", "at most 2000000000"),
        ({"render": {"size": 4096}}, "render.size", "at most 2048"),
        ({"concepts": ["zzqx"]}, "concepts.0.name", "diffusers"),
        ({"concepts": ["a => b"]}, "concepts.0.name", ""),
        ({"captions": 2_000_000_000, "captions_per_unit": 1}, "captions_per_unit", "larger"),
    ],
)
async def test_bad_requests_name_the_field_and_what_to_do(
    site: Any, change: dict[str, object], field: str, words: str
) -> None:
    status, problem = await make(site, body={**BODY, **change})
    assert (status, problem["field"]) == (422, field)
    assert words in f"{problem['detail']} {problem['hint']}"
    assert not list(site.store.list(""))


async def test_users_see_their_own_jobs_and_admins_all(site: Any) -> None:
    job = str((await make(site))[1]["job"])
    paths = [("GET", p) for p in ("", "/spec", "/events", "/captions", "/failures", "/shards")]
    paths += [("POST", p) for p in ("/cancel", "/pause", "/resume")]
    async with site.client("bob") as bob:
        unknown = (await bob.get(f"/v1/jobs/{'01k' + '0' * 23}")).json()
        for method, path in paths:
            answer = await bob.request(method, f"/v1/jobs/{job}{path}")
            assert answer.status_code == 404, path
            assert answer.json()["detail"].replace(job, unknown["detail"].split("'")[1]) == unknown["detail"]
        assert (await bob.get("/v1/jobs")).json()["items"] == []
        assert (await bob.get("/v1/jobs/..%2F..")).status_code == 404
    assert site.store.head(layout.cancel(job)) is None
    async with site.client("root") as root:
        assert (await root.get(f"/v1/jobs/{job}")).status_code == 200
        assert len((await root.get("/v1/jobs")).json()["items"]) == 1
    async with site.client(None) as nobody:
        for method, path in [*paths, ("POST", "/../../captions")]:
            assert (await nobody.request(method, f"/v1/jobs/{job}{path}")).status_code == 401
        for path in ("/v1/jobs", "/v1/workers", "/v1/concept-sets"):
            assert (await nobody.get(path)).status_code == 401
        for path in ("/healthz", "/readyz", "/metrics", "/openapi.json"):
            assert (await nobody.get(path)).status_code == 200


async def test_pages_of_jobs_go_on_where_they_ended_newest_first(site: Any) -> None:
    jobs = [str((await make(site, who=who))[1]["job"]) for who in ("ada", "bob") * 4]
    mine, seen, cursor = sorted(jobs[::2], reverse=True), [], None
    async with site.client() as client:
        while True:
            page = (await client.get("/v1/jobs", params={"limit": 3, **({"cursor": cursor} if cursor else {})})).json()
            seen += [item["job"] for item in page["items"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
    assert seen == mine


async def test_cancel_and_pause_are_in_the_store_first(site: Any, redis: Redis) -> None:
    job = str((await make(site))[1]["job"])
    async with site.client() as client:
        assert (await client.post(f"/v1/jobs/{job}/pause")).json()["state"] == "paused"
        assert site.store.head(layout.pause(job)) is not None
        assert (await client.post(f"/v1/jobs/{job}/resume")).json()["state"] == "queued"
        assert site.store.head(layout.pause(job)) is None
        first = await client.post(f"/v1/jobs/{job}/cancel")
        assert (first.status_code, first.json()["state"]) == (202, "cancelling")
        kept = site.store.get(layout.cancel(job))
        redis.flushall()
        assert (await client.post(f"/v1/jobs/{job}/cancel")).json()["state"] == "cancelling"
        assert site.store.get(layout.cancel(job)) == kept
