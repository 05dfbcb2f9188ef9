"""Work for the farm while faults fall: jobs of random shape, sent again under their own key until one answer comes."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import suppress

from redis.exceptions import RedisError
from tests.chaos.random_faults.site import Site

from synfarm.contracts import layout
from synfarm.contracts.jobs import JobRequest
from synfarm.sdk.errors import SynfarmError
from synfarm.storage.protocol import StoreError

__all__ = ["Load", "draw_job"]

_LEAST_UNITS = 40
"""Fewer left than this, and another job is submitted: a fault must find work."""
_CONCEPTS = ("dog", "cat", "apple", "car", "guitar", "horse", "tree", "boat")


def draw_job(seed: int, number: int) -> JobRequest:
    """A small job; the same for the same arguments."""
    chance = random.Random(f"{seed}/job/{number}")
    return JobRequest.model_validate(
        {
            "concepts": chance.sample(_CONCEPTS, chance.randint(2, 6)),
            "captions": chance.randint(70, 140),
            "captions_per_unit": chance.randint(2, 5),
            "images_per_caption": chance.randint(1, 3),
            "lane": chance.choice(("high", "normal", "low")),
            "seed": chance.randrange(1 << 31),
            "render": {"size": 64},
        }
    )


class Load:
    """Submits when there is little left; ``site.jobs`` lists what was submitted."""

    def __init__(self, site: Site, seed: int) -> None:
        self._site, self._seed = site, seed
        self._unfinished: dict[str, int] = {}
        """Units by job."""
        self._ending = False

    async def keep(self) -> None:
        """Until :meth:`end`, and then until every job has ended."""
        while self._unfinished or not self._ending:
            await self.top_up()
            await asyncio.sleep(0.3)

    def end(self) -> None:
        """Submit no more; what is under way is brought to its answer."""
        self._ending = True

    async def top_up(self) -> None:
        """Submit a job if there is little left to do, as far as the store tells."""
        try:
            left = await asyncio.to_thread(self._units_left)
        except StoreError:
            return
        if left < _LEAST_UNITS and not self._ending:
            await self._submit(len(self._site.jobs))

    def _units_left(self) -> int:
        left, store = 0, self._site.store
        for job, units in list(self._unfinished.items()):
            if store.head(layout.ended(job, 1)) is not None:
                with suppress(RedisError):
                    self._site.last_counters[job] = (time.time(), self._site.board.counters(job))
                del self._unfinished[job]
            else:
                left += units - sum(1 for _ in store.list(layout.commits_prefix(job)))
        return left

    async def _submit(self, number: int) -> None:
        request, key = draw_job(self._seed, number), f"chaos-{self._seed}-{number}"
        clients = [client for client in (self._site.farm.client, self._site.farm.twin) if client is not None]
        async with asyncio.timeout(300):
            for turn in range(1000):
                try:
                    job = (await clients[turn % len(clients)].jobs.submit(request, idempotency_key=key)).job
                    break
                except SynfarmError:
                    await asyncio.sleep(0.5)
        self._site.jobs.append(job)
        self._unfinished[job] = -(-request.captions // (request.captions_per_unit or 1))
