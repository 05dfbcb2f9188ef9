"""Faults of processes: killed, told to stop, hanging for longer than their lease or lock."""

from __future__ import annotations

import asyncio
import random
import signal
from dataclasses import dataclass

import httpx
from tests.chaos.random_faults.site import WORKERS, Site

__all__ = ["PROCESS_FAULTS", "Hang", "Kill", "KillAll", "StoreAway", "Terminate", "TwoFeeders"]

_REPAIRERS = ("caption-api", "redis")
_ALL = ("caption-api", *WORKERS, "redis", "s3")


@dataclass(frozen=True)
class Kill:
    """SIGKILL of one of the twins."""

    process: str

    @property
    def name(self) -> str:
        return f"kill {self.process}"

    @property
    def touches(self) -> frozenset[str]:
        return frozenset({self.process})

    async def strike(self, site: Site, chance: random.Random) -> str:
        name, pid = await site.victim(self.process, chance)
        # It stands still while its units are read from Redis: it must not let them go in between.
        site.send(pid, signal.SIGSTOP)
        lost = site.lose(self.name, await site.held_by(pid)) if self.process in WORKERS else 0
        if self.process in _REPAIRERS:
            site.repairs.begin_anew()
        site.send(pid, signal.SIGKILL)
        return f"{name}, with {lost} units"


@dataclass(frozen=True)
class Terminate:
    """SIGTERM of one of the twins, as in a rolling update."""

    process: str

    @property
    def name(self) -> str:
        return f"terminate {self.process}"

    @property
    def touches(self) -> frozenset[str]:
        return frozenset({self.process})

    async def strike(self, site: Site, chance: random.Random) -> str:
        name, pid = await site.victim(self.process, chance)
        lost = site.lose(self.name, await site.held_by(pid)) if self.process in WORKERS else 0
        if self.process in _REPAIRERS:
            site.repairs.begin_anew()
        site.send(pid, signal.SIGTERM)
        return f"{name}, with {lost} units"


@dataclass(frozen=True)
class Hang:
    """A worker stands still for longer than its leases live; then it goes on with what others have, or is killed."""

    process: str

    @property
    def name(self) -> str:
        return f"hang {self.process}"

    @property
    def touches(self) -> frozenset[str]:
        return frozenset({self.process})

    async def strike(self, site: Site, chance: random.Random) -> str:
        name, pid = await site.victim(self.process, chance)
        seconds, end = chance.uniform(1.2, 1.8) * site.pace.lease, chance.choice((signal.SIGCONT, signal.SIGKILL))
        site.send(pid, signal.SIGSTOP)
        try:
            lost = site.lose(self.name, await site.held_by(pid))
            await asyncio.sleep(seconds)
        finally:
            site.send(pid, end)
        return f"{name} for {seconds:.1f} s, then {end.name}, with {lost} units"


@dataclass(frozen=True)
class TwoFeeders:
    """The leading replica stands still in its pass until the other leads, and then goes on with it."""

    name: str = "two feeders"
    touches: frozenset[str] = frozenset({"caption-api"})

    async def strike(self, site: Site, chance: random.Random) -> str:
        names = site.twins("caption-api")
        leading = [name for name in names if await _leads(site.farm.urls[name])]
        name = chance.choice(leading or names)
        pid, seconds = await site.running(name), chance.uniform(1.2, 2.0) * site.pace.lock
        site.send(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            site.send(pid, signal.SIGCONT)
            site.repairs.begin_anew()
        return f"{name} stood still for {seconds:.1f} s{'' if leading else ', nobody led'}"


async def _leads(url: str) -> bool:
    try:
        async with httpx.AsyncClient(timeout=1, trust_env=False) as http:
            return bool((await http.get(f"{url}/healthz")).json()["feeder"] == "leading")
    except (httpx.HTTPError, ValueError, KeyError):
        return False


@dataclass(frozen=True)
class StoreAway:
    """The store dies as often as it is started."""

    name: str = "store away"
    touches: frozenset[str] = frozenset({"s3"})

    async def strike(self, site: Site, chance: random.Random) -> str:
        with site.away(self.name):
            await site.farm.hold_down("s3", site.pace.away)
        return f"for {site.pace.away:g} s"


@dataclass(frozen=True)
class KillAll:
    """Every process of the farm at once."""

    name: str = "kill all"
    touches: frozenset[str] = frozenset(_ALL)

    async def strike(self, site: Site, chance: random.Random) -> str:
        await site.victim("render-worker", chance)
        names = [name for process in _ALL for name in site.twins(process)]
        pids = {name: await site.running(name) for name in names}
        lost = site.lose(self.name, [loss for pid in pids.values() for loss in await site.held_by(pid)])
        site.forgets()
        for pid in pids.values():
            site.send(pid, signal.SIGKILL)
        return f"{len(pids)} processes, with {lost} units"


PROCESS_FAULTS = (
    *(Kill(process) for process in (*_ALL, "llm-server")),
    *(Terminate(process) for process in ("caption-api", *WORKERS)),
    *(Hang(process) for process in WORKERS),
    TwoFeeders(),
    StoreAway(),
    KillAll(),
)
