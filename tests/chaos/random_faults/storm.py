"""Faults strike one after another, some beside each other, while jobs run; everything is written down."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from tests.chaos.random_faults.plan import Planned
from tests.chaos.random_faults.site import Site

__all__ = ["RandomFault", "Storm", "Struck"]


class RandomFault(Protocol):
    """One kind of fault."""

    @property
    def name(self) -> str: ...

    @property
    def touches(self) -> frozenset[str]:
        """What no other fault may touch meanwhile."""

    async def strike(self, site: Site, chance: random.Random) -> str:
        """Strike once and return when it is over; what was done, in words."""


@dataclass(frozen=True, slots=True)
class Struck:
    """A fault that fell; ``at`` in seconds of ``time.time()``."""

    kind: str
    at: float


class Storm:
    """The faults of one run."""

    def __init__(self, site: Site, kinds: Sequence[RandomFault], tell: Callable[[str], None]) -> None:
        self._site, self._kinds, self._tell = site, {kind.name: kind for kind in kinds}, tell
        self._running: dict[asyncio.Task[None], RandomFault] = {}
        self.struck: list[Struck] = []

    @property
    def missing(self) -> set[str]:
        """Kinds that have not fallen."""
        return self._kinds.keys() - {struck.kind for struck in self.struck}

    async def rage(self, plan: Iterator[Planned], seconds: float) -> None:
        """Strike for so long, and at any rate until each kind has fallen; returns when the last one is over."""
        until, pauses = time.monotonic() + seconds, self._site.pace.between
        for planned in plan:
            if time.monotonic() > until and not (self.missing - {fault.name for fault in self._running.values()}):
                break
            await asyncio.sleep(planned.chance().uniform(*pauses))
            fault = self._kinds[planned.kind]
            await self._make_room(fault)
            task = asyncio.create_task(self._strike(planned, fault), name=planned.kind)
            self._running[task] = fault
        await self._wait(set(self._running), asyncio.ALL_COMPLETED)

    async def _make_room(self, fault: RandomFault) -> None:
        while busy := {task for task, other in self._running.items() if other.touches & fault.touches}:
            await self._wait(busy, asyncio.FIRST_COMPLETED)

    async def _wait(self, tasks: set[asyncio.Task[None]], how: str) -> None:
        if tasks:
            done, _ = await asyncio.wait(tasks, return_when=how)
            for task in done:
                del self._running[task]
                task.result()

    async def _strike(self, planned: Planned, fault: RandomFault) -> None:
        at = time.time()
        self._tell(f"#{planned.number} {fault.name} …")
        told = await fault.strike(self._site, planned.chance())
        self.struck.append(Struck(fault.name, at))
        self._tell(f"#{planned.number} {fault.name}: {told}")
