"""Two replicas of the API and two caption workers: the leader is killed, and the others go on at once."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import httpx
import pytest

from synfarm.contracts.events import Event, EventType

pytestmark = [pytest.mark.chaos, pytest.mark.integration, pytest.mark.timeout(240)]


async def _leads(http: httpx.AsyncClient, url: str) -> bool:
    try:
        return bool((await http.get(f"{url}/healthz")).json()["feeder"] == "leading")
    except httpx.HTTPError:
        return False


async def _follow(client: Any, job: str, last: str | None, count: int) -> list[Event]:
    events: list[Event] = []
    async with asyncio.timeout(60):
        async for event in client.jobs.events(job, last_event_id=last):
            events.append(event)
            if len(events) == count:
                break
    return events


async def test_the_other_replica_leads_within_seconds_and_goes_on_with_the_stream(
    farm: Any, quick: dict[str, str]
) -> None:
    # Leases that outlast a starved worker of this test: here nobody's lease expires, so that nothing is sent twice.
    patient = {**quick, "SYNFARM_LEASE_TTL_SECONDS": "30", "SYNFARM_FEEDER_CLAIM_GAP_SECONDS": "30"}
    twins = ("caption-api", "caption-worker")
    async with farm(extra=patient, llm=0.15, twins=twins) as f, httpx.AsyncClient(timeout=5) as http:
        urls = f.urls
        clients = {"caption-api": f.client, "caption-api-2": f.twin}

        async def somebody_leads() -> bool:
            return any([await _leads(http, url) for url in urls.values()])

        await f.until(somebody_leads)
        (leader,) = [name for name, url in urls.items() if await _leads(http, url)]
        other = next(name for name in urls if name != leader)
        job = (await f.submit(captions=96)).job
        await f.until_committed(job, 2)
        seen = await _follow(clients[leader], job, None, 3)
        with f.frozen("render-worker"):
            pid = f.supervisor.pid(leader)
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            assert f.store_is_unfinished(job)

        async def other_leads() -> bool:
            return await _leads(http, urls[other])

        await f.until(other_leads, seconds=20)  # the lock of two seconds, not the process that comes back
        resumed = await _follow(clients[other], job, seen[-1].id, 4)
        assert EventType.RESET not in {event.type for event in resumed}
        # How many there are is a matter of speed: at most two a second, until the job ends.
        assert resumed
        numbers = [int(event.id.rpartition("-")[2]) for event in [seen[-1], *resumed]]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        await f.finish(job)
        counters = f.counters(job)
        assert (counters.resends, counters.repairs, counters.lost_workers) == (0, 0, 0)
        assert counters.sends == 2 * 24
        workers = [f.logged(name, "unit_left") for name in ("caption-worker", "caption-worker-2")]
        assert all(count > 0 for count in workers), workers
