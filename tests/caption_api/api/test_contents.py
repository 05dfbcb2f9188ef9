"""Captions, shards, failures, events, prompts and operations over HTTP."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisAway

from synfarm.auth import Principal
from synfarm.contracts import layout
from synfarm.contracts.captions import write_jsonl
from synfarm.contracts.events import EventType
from synfarm.contracts.jobs import JobSpec
from synfarm.queue.board import Board
from synfarm.queue.clock import RedisClock
from synfarm.queue.events import EventLog
from synfarm.storage.protocol import StoreRefused
from synfarm_caption_api.captioning import caption_unit
from synfarm_caption_api.prompts.draw import Drawer
from synfarm_caption_api.prompts.pools import load_pools
from synfarm_caption_api.text_generator import FakeGenerator, GeneratorAway

pytestmark = pytest.mark.integration
ADMIN = Principal(owner="root", role="admin")


async def make(site: Any) -> JobSpec:
    async with site.client() as client:
        answer = await client.post("/v1/jobs", json={"concepts": ["dog", "cat"], "captions": 40})
    return JobSpec.from_bytes(site.store.get(layout.job(answer.json()["job"])))


async def test_captions_are_paged_across_units_and_gaps(site: Any) -> None:
    spec = await make(site)
    drawer = Drawer(spec, load_pools())
    for unit in (0, 1, 3):
        records = await caption_unit(spec, unit, drawer=drawer, generator=FakeGenerator(), progress=lambda: None)
        site.store.create(layout.captions(spec.job, unit), write_jsonl(records))
    seen: list[int] = []
    cursor: int | None = 0
    async with site.client() as client:
        while cursor is not None:
            page = (await client.get(f"/v1/jobs/{spec.job}/captions?limit=7&cursor={cursor}")).json()
            seen += [item["index"] for item in page["items"]]
            cursor = page["next_cursor"]
    assert seen == [*range(16), *range(24, 32)]


async def test_a_commit_outranks_a_dead_letter(site: Any) -> None:
    spec = await make(site)
    letter = {
        "job": spec.job,
        "stage": "render",
        "fault": "unit",
        "reason": "NaN",
        "count": 3,
        "at": "2026-01-01T00:00:00Z",
    }
    for unit in (1, 2):
        site.store.create(layout.failure(spec.job, unit), json.dumps({**letter, "unit": unit}).encode())
    commit = {
        "job": spec.job,
        "unit": 2,
        "attempt": spec.job,
        "worker": "w",
        "committed_at": "2026-01-01T00:00:00Z",
        "shard": None,
        "groups": [],
        "captions_sha256": "0" * 64,
    }
    site.store.create(layout.commit(spec.job, 2), json.dumps(commit).encode())
    async with site.client() as client:
        failures = (await client.get(f"/v1/jobs/{spec.job}/failures")).json()["items"]
        shards = (await client.get(f"/v1/jobs/{spec.job}/shards")).json()["items"]
    assert [item["unit"] for item in failures] == [1]
    assert [item["unit"] for item in shards] == [2]


async def read_events(site: Any, job: str, last: str | None, count: int) -> list[dict[str, Any]]:
    """The first events of a stream. (The ASGI transport of httpx gathers a whole body, so the hub is read itself.)"""
    spec = site.services.jobs.spec(job, ADMIN)

    async def full_state() -> dict[str, Any]:
        return site.services.jobs.view(spec).model_dump(mode="json")

    events: list[dict[str, Any]] = []
    async with asyncio.timeout(10):
        async for event in site.services.hub.stream(job, last, full_state):
            events.append(event.model_dump(mode="json"))
            if len(events) == count:
                break
    return events


async def test_events_resume_and_are_reset_after_a_lost_epoch(site: Any, redis: Redis) -> None:
    spec = await make(site)
    Board(redis, site.keys, RedisClock(redis)).ensure_epoch()
    log = EventLog(redis, site.keys)
    for n in range(3):
        log.publish(spec.job, EventType.PROGRESS, {"n": n})
    fresh = await read_events(site, spec.job, None, 1)
    assert (fresh[0]["type"], fresh[0]["data"]["planned_captions"]) == ("reset", 40)
    kept = log.read(spec.job, None)
    assert kept is not None
    resumed = await read_events(site, spec.job, kept[0].id, 2)
    assert [event["data"] for event in resumed] == [{"n": 1}, {"n": 2}]
    redis.flushall()
    Board(redis, site.keys, RedisClock(redis)).ensure_epoch()
    assert (await read_events(site, spec.job, kept[0].id, 1))[0]["type"] == "reset"


async def test_an_ended_job_s_stream_is_one_reset_over_http(site: Any) -> None:
    spec = await make(site)
    ended = {
        "job": spec.job,
        "generation": 1,
        "state": "completed",
        "planned": 40,
        "counts": {"images": 160},
        "parts": [],
        "manifest_sha256": "0" * 64,
        "ended_at": "2026-01-01T00:00:00Z",
    }
    site.store.create(layout.ended(spec.job, 1), json.dumps(ended).encode())
    site.store.delete(layout.active(spec.job))
    async with site.client() as client:
        answer = await client.get(f"/v1/jobs/{spec.job}/events", headers={"Last-Event-ID": "../../nonsense"})
    assert answer.headers["content-type"].startswith("text/event-stream")
    lines = answer.text.split("\n")
    assert "event: reset" in lines
    data = json.loads(next(line for line in lines if line.startswith("data: "))[6:])
    assert (data["data"]["state"], data["data"]["counts"]["images"]) == ("completed", 160)


async def test_prompts_may_be_tried_without_a_job(site: Any) -> None:
    async with site.client() as client:
        answer = (await client.post("/v1/captions", json={"concepts": ["dog", "zeppelin"], "n": 2})).json()
        assert [item["concept"] for item in answer["items"]].count("dog") == 2
        assert all(item["text"] and item["prompt"].endswith("=>") for item in answer["items"])
        for bad in ({"concepts": ["dog"], "n": 65}, {"concepts": ["dog", "dog"]}):
            assert (await client.post("/v1/captions", json=bad)).status_code == 422
    assert not list(site.store.list(""))


async def test_a_try_is_of_texts_so_no_renderer_refuses_it(site: Any) -> None:
    unheard_of = {"name": "dog", "synonyms": ["barking machine"]}
    async with site.client() as client:
        answer = await client.post("/v1/captions", json={"concepts": [unheard_of]})
        assert (answer.status_code, len(answer.json()["items"])) == (200, 1)


async def test_an_llm_that_is_away_is_said_so(site: Any) -> None:
    site.generator._answer = lambda concept, seed: GeneratorAway("LLM at http://10.9.8.7: no such key sk-secret")
    async with site.client() as client:
        answer = await client.post("/v1/captions", json={"concepts": ["dog"]})
    assert "10.9.8.7" not in answer.text
    assert "sk-secret" not in answer.text
    assert (answer.status_code, answer.json()["code"]) == (503, "llm_away")


async def test_readiness_names_each_dependency(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def gone() -> None:
        raise GeneratorAway("LLM at http://10.9.8.7:8080: connection refused")

    monkeypatch.setattr(site.generator, "probe", gone)
    async with site.client(None) as client:
        answer = await client.get("/readyz")
        assert answer.status_code == 200  # jobs are accepted without the LLM
        found = answer.json()["dependencies"]
        assert {name: found[name]["ok"] for name in found} == {"store": True, "redis": True, "llm": False}

        def gone_too() -> None:
            raise RedisAway("Error 111 connecting to 10.9.8.7:6379. Connection refused.")

        def away(operation: str, key: str) -> None:
            raise StoreRefused("HTTPConnectionPool(host='10.9.8.7', port=9000): InvalidAccessKeyId")

        site.store.fault = away
        monkeypatch.setattr(site.services.redis, "ping", gone_too)
        answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()["dependencies"]) == (
        503,
        {
            "store": {"ok": False, "detail": "refuses this process"},
            "redis": {"ok": False, "detail": "does not answer"},
            "llm": {"ok": False, "detail": "does not answer"},
        },
    ), "asked without a key: no address, no words of a library"


async def test_health_tells_a_hung_feeder_from_a_dependency_that_is_away(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pulse = site.services.pulse
    assert pulse is not None
    async with site.client(None) as client:
        assert (await client.get("/healthz")).status_code == 200
        monkeypatch.setattr(pulse, "_at", pulse._at - 1000)
        assert (await client.get("/healthz")).status_code == 503
        pulse.fail("RedisError: gone")
        answer = await client.get("/healthz")
    assert (answer.status_code, answer.json()["failure"]) == (200, "RedisError: gone")


async def test_metrics_count_by_route_and_never_by_id(site: Any) -> None:
    spec = await make(site)
    async with site.client() as client:
        await client.get(f"/v1/jobs/{spec.job}")
        text = (await client.get("/metrics")).text
    assert "synfarm_jobs_submitted_total 1.0" in text
    assert 'route="/v1/jobs/{job}",status="200"' in text
    assert spec.job not in text


async def test_a_made_up_method_becomes_no_label_of_its_own(site: Any) -> None:
    async with site.client() as client:
        await client.request("BREW", "/v1/jobs")
        text = (await client.get("/metrics")).text
    assert "BREW" not in text
    assert 'method="other"' in text
