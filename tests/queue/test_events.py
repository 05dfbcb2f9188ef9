"""Event streams: numbered without gaps, resumed by id, reset when the id is of a lost memory or too old."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from synfarm.contracts.events import Event, EventType
from synfarm.queue.event_hub import EventHub
from synfarm.queue.events import EventLog
from synfarm.queue.keys import Keys

pytestmark = pytest.mark.integration

JOB = "01jd0000000000000000000000"


@pytest.fixture
def log(redis: Redis, keys: Keys) -> EventLog:
    return EventLog(redis, keys, cap=10)


@pytest.fixture
async def hub(redis_url: str, keys: Keys) -> AsyncIterator[EventHub]:
    client = AsyncRedis.from_url(redis_url, decode_responses=True)
    hub = EventHub(client, keys, block_seconds=0.1, backlog=4)
    yield hub
    await hub.close()
    await client.aclose()


async def full_state() -> dict[str, Any]:
    return {"state": "running", "full": True}


async def take(stream: AsyncIterator[Event], count: int) -> list[Event]:
    async with asyncio.timeout(20):
        return [await anext(stream) for _ in range(count)]


def publish(log: EventLog, count: int) -> list[Event]:
    return [log.publish(JOB, EventType.UNITS, {"n": n}) for n in range(count)]


def test_ids_rise_by_one_and_reading_resumes(log: EventLog) -> None:
    events = publish(log, 5)
    assert log.read(JOB, None) == events
    assert log.read(JOB, events[2].id) == events[3:]
    assert log.read(JOB, events[4].id) == []


def test_lost_epoch_trimmed_and_nonsense_ids_are_told_apart(log: EventLog, redis: Redis) -> None:
    old = publish(log, 15)
    assert log.read(JOB, old[0].id) is None  # trimmed to ten
    assert log.read(JOB, "nonsense") is None
    redis.flushall()
    publish(log, 1)
    assert log.read(JOB, old[14].id) is None


async def test_a_fresh_client_gets_the_full_state_and_then_what_happens(hub: EventHub, log: EventLog) -> None:
    publish(log, 3)
    stream = hub.stream(JOB, None, full_state)
    (reset,) = await take(stream, 1)
    assert (reset.type, reset.data["full"]) == (EventType.RESET, True)
    later = await asyncio.to_thread(publish, log, 3)
    assert await take(stream, 3) == later
    await stream.aclose()


async def test_a_client_resumes_where_it_was(hub: EventHub, log: EventLog) -> None:
    events = publish(log, 4)
    stream = hub.stream(JOB, events[1].id, full_state)
    assert await take(stream, 2) == events[2:]
    later = await asyncio.to_thread(publish, log, 1)
    assert await take(stream, 1) == later
    await stream.aclose()


async def test_loss_of_memory_resets_a_listening_client(hub: EventHub, log: EventLog, redis: Redis) -> None:
    events = publish(log, 4)
    stream = hub.stream(JOB, events[3].id, full_state)
    waiting = asyncio.create_task(take(stream, 1))
    await asyncio.sleep(0.3)
    redis.flushall()
    after = await asyncio.to_thread(publish, log, 1)
    (reset,) = await waiting
    assert reset.type is EventType.RESET
    assert reset.id == after[0].id
    await stream.aclose()


async def test_a_slow_client_is_reset_and_the_final_state_ends_the_stream(hub: EventHub, log: EventLog) -> None:
    stream = hub.stream(JOB, None, full_state)
    await take(stream, 1)
    await asyncio.to_thread(publish, log, 9)  # more than its backlog of four
    await asyncio.sleep(0.5)
    assert (await take(stream, 1))[0].type is EventType.RESET
    log.publish(JOB, EventType.STATE, {"state": "completed"})
    async with asyncio.timeout(20):
        rest = [event async for event in stream]
    assert rest[-1].data["state"] == "completed"


async def test_many_clients_share_one_reader(hub: EventHub, log: EventLog) -> None:
    streams = [hub.stream(JOB, None, full_state) for _ in range(20)]
    await asyncio.gather(*(take(stream, 1) for stream in streams))
    assert len([t for t in asyncio.all_tasks() if "EventHub._read" in repr(t.get_coro())]) == 1
    events = await asyncio.to_thread(publish, log, 2)
    for got in await asyncio.gather(*(take(stream, 2) for stream in streams)):
        assert got == events
    for stream in streams:
        await stream.aclose()
