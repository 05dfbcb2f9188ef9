"""What the tests of the caption API share: a small spec, and the application over a fake store and a real Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

import httpx
import pytest
from fastapi import FastAPI
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from synfarm.auth import Authenticator, new_key
from synfarm.concepts import load
from synfarm.contracts.base import utc_now
from synfarm.contracts.jobs import JobRequest, JobSpec
from synfarm.queue.app import connect
from synfarm.queue.board import Board
from synfarm.queue.clock import RedisClock
from synfarm.queue.event_hub import EventHub
from synfarm.queue.flags import FlagBook
from synfarm.queue.keys import Keys
from synfarm.queue.rate import RateLimit
from synfarm.settings import AuthSettings, RedisSettings
from synfarm.storage.memory import MemoryStore
from synfarm_caption_api.api.application import make_application
from synfarm_caption_api.api.asks import Asks
from synfarm_caption_api.api.metrics import ApiMetrics
from synfarm_caption_api.api.reading import JobReader
from synfarm_caption_api.api.room import Room
from synfarm_caption_api.api.services import ApiServices
from synfarm_caption_api.caption_report.reporter import CaptionReporter
from synfarm_caption_api.feeder.crew import Crew
from synfarm_caption_api.feeder.run import FeederPulse
from synfarm_caption_api.prompts.pools import load_pools
from synfarm_caption_api.samples.reader import SampleReader
from synfarm_caption_api.submission import Submitter
from synfarm_caption_api.text_generator import FakeGenerator

JOB = "01k" + "0" * 23


@pytest.fixture
def make_spec() -> Callable[..., JobSpec]:
    def make(**changes: object) -> JobSpec:
        body = {"concepts": ["dog", "red fox", "owl"], "captions": 20, **changes}
        size = body.pop("captions_per_unit", 8)
        plain = JobRequest.model_validate(body).model_dump(exclude={"captions_per_unit"})
        return JobSpec(**plain, job=JOB, owner="ada", created_at=utc_now(), captions_per_unit=size)

    return make


@dataclass
class Site:
    """One replica of the API over a store and a Redis."""

    store: MemoryStore
    redis: Redis
    keys: Keys
    app: FastAPI
    generator: FakeGenerator
    services: ApiServices
    tokens: dict[str, str]

    @asynccontextmanager
    async def client(self, who: str | None = "ada") -> AsyncIterator[httpx.AsyncClient]:
        headers = {"Authorization": f"Bearer {self.tokens[who]}"} if who else {}
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers) as client:
            yield client


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    client = connect(RedisSettings(url=redis_url))
    yield client
    client.close()


@pytest.fixture
async def site(redis: Redis, redis_url: str) -> AsyncIterator[Site]:
    keys, store, generator = Keys("test"), MemoryStore(), FakeGenerator()
    events_redis = AsyncRedis.from_url(redis_url, decode_responses=True)
    flags, board = FlagBook(redis, keys, store), Board(redis, keys, RedisClock(redis))
    pulse, pools, hub = FeederPulse(), load_pools(), EventHub(events_redis, keys, block_seconds=0.1)
    metrics, jobs = ApiMetrics(pulse), JobReader(store, board, flags, Crew(redis, keys))
    services = ApiServices(
        store=store,
        redis=redis,
        keys=keys,
        flags=flags,
        hub=hub,
        jobs=jobs,
        room=Room(redis, keys, jobs),
        samples=SampleReader(store),
        reports=CaptionReporter(store),
        submitter=Submitter(store, load("collage"), pools),
        generator=generator,
        asks=Asks(2),
        pools=pools,
        vocabulary=load("collage"),
        metrics=metrics,
        pulse=pulse,
        health_age_seconds=60,
        heartbeat_seconds=15,
    )
    made = {name: new_key(name, "admin" if name == "root" else "user") for name in ("ada", "bob", "root")}
    authenticate = Authenticator(AuthSettings(), [record for _, record in made.values()])

    def lifespan(_: FastAPI) -> AbstractAsyncContextManager[None]:
        raise AssertionError("the ASGI transport of the tests runs no lifespan")

    app = make_application(authenticate, metrics, lifespan)
    app.state.services, app.state.admit = services, RateLimit(events_redis, keys)
    yield Site(store, redis, keys, app, generator, services, {name: key for name, (key, _) in made.items()})
    services.samples.close()
    await hub.close()
    await events_redis.aclose()
