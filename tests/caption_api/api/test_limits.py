"""Limits of a key: counted over replicas, told with the time to wait, and what becomes of them without Redis."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis as AsyncRedis
from redis.backoff import NoBackoff
from redis.retry import Retry

from synfarm.auth import Authenticator, KeyLimits, new_key
from synfarm.contracts import layout
from synfarm.queue.app import connect
from synfarm.queue.rate import RateLimit
from synfarm.settings import AuthSettings, RedisSettings
from synfarm_caption_api.api.room import Room

pytestmark = pytest.mark.integration
BODY = {"concepts": ["dog", "cat"], "captions": 100}
NOWHERE = "redis://127.0.0.1:9/0"


def limit(site: Any, **limits: object) -> None:
    """Give ada's key limits."""
    key, record = new_key("ada")
    site.tokens["ada"] = key
    bounded = record.model_copy(update={"limits": KeyLimits.model_validate(limits)})
    free_key, free = new_key("bob")
    site.tokens["bob"] = free_key
    site.app.state.authenticate = Authenticator(AuthSettings(), [bounded, free])


async def post(site: Any, who: str = "ada", **headers: str) -> Any:
    async with site.client(who) as client:
        return await client.post("/v1/jobs", json=BODY, headers=headers)


async def test_requests_beyond_the_rate_wait_as_long_as_they_are_told(site: Any) -> None:
    limit(site, requests_per_second=0.01, burst=3)
    async with site.client() as client:
        answers = [await client.get("/v1/jobs") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    refused = answers[-1]
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["code"] == "too_many_requests"
    assert 60 < int(refused.headers["retry-after"]) <= 100
    async with site.client("bob") as bob:
        assert (await bob.get("/v1/jobs")).status_code == 200


async def test_the_bucket_fills_again_and_is_one_for_all_replicas(site: Any, redis_url: str) -> None:
    limit(site, requests_per_second=0.01, burst=2)
    who = site.app.state.authenticate(f"Bearer {site.tokens['ada']}")
    async with AsyncRedis.from_url(redis_url, decode_responses=True) as other, site.client() as client:
        second_replica = RateLimit(other, site.keys)
        await second_replica(who)
        await second_replica(who)
        assert (await client.get("/v1/jobs")).status_code == 429
        at = float(site.redis.hget(site.keys.bucket(who.key), "at"))
        site.redis.hset(site.keys.bucket(who.key), "at", at - 101)  # as if so many seconds had gone by
        assert [(await client.get("/v1/jobs")).status_code for _ in range(2)] == [200, 429]


async def test_active_jobs_and_planned_captions_are_bounded(site: Any) -> None:
    limit(site, jobs_active=2, captions_planned=10_000)
    jobs = [(await post(site)).json()["job"] for _ in range(2)]
    refused = await post(site)
    assert (refused.status_code, refused.json()["code"], refused.headers["retry-after"]) == (429, "too_many_jobs", "60")
    assert (await post(site, "bob")).status_code == 201
    site.store.delete(layout.active(jobs[0]))  # it ended
    assert (await post(site)).status_code == 201
    limit(site, captions_planned=250)
    refused = await post(site)
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_captions")
    assert "at most 50" in refused.json()["hint"]


async def test_a_replay_needs_no_room_and_a_plan_neither(site: Any) -> None:
    limit(site, jobs_active=1)
    headers = {"Idempotency-Key": "k"}
    first = await post(site, **headers)
    assert (first.status_code, (await post(site)).status_code) == (201, 429)
    again = await post(site, **headers)
    assert (again.status_code, again.json()["job"]) == (200, first.json()["job"])
    async with site.client() as client:
        assert (await client.post("/v1/jobs?dry_run=true", json=BODY)).status_code == 200


async def test_two_replicas_never_both_give_the_last_place(site: Any) -> None:
    limit(site, jobs_active=3)
    answers = await asyncio.gather(*(post(site) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [201] * 3 + [429] * 5
    assert len(list(site.store.list(layout.active_prefix()))) == 3


async def test_without_redis_reads_go_on_and_limited_submissions_wait(site: Any) -> None:
    limit(site, requests_per_second=0.1, burst=1, jobs_active=5)
    gone = AsyncRedis.from_url(NOWHERE, retry=Retry(NoBackoff(), 0))
    site.app.state.admit = RateLimit(gone, site.keys)
    room = Room(connect(RedisSettings(url=NOWHERE)), site.keys, site.services.jobs)
    services = {name: getattr(site.services, name) for name in site.services.__slots__}
    site.app.state.services = type(site.services)(**{**services, "room": room})
    async with site.client() as client:
        assert [(await client.get("/v1/jobs")).status_code for _ in range(3)] == [200] * 3
    refused = await post(site)
    assert (refused.status_code, refused.json()["code"], refused.headers["retry-after"]) == (503, "redis_away", "5")
    assert (await post(site, "bob")).status_code == 201
    await gone.aclose()
