"""Faults between the farm and its store: it is full, busy, slow, silent; requests, answers and bodies get lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass

from tests.chaos.random_faults.site import Site
from tests.fault_proxy import Exchange, Fault, FaultProxy

__all__ = ["STORE_FAULTS", "Weather"]

_ALL = ("GET", "HEAD", "PUT", "DELETE")


@dataclass(frozen=True)
class Weather:
    """For some seconds a share of the requests of some methods meets a fault."""

    name: str
    methods: tuple[str, ...]
    share: tuple[float, float]
    """Least and largest."""
    make: Callable[[Site, random.Random], Fault]
    lasting: float = 0.0
    """Of the read time-out: so long its last answers keep their clients waiting."""
    touches: frozenset[str] = frozenset({"s3"})

    async def strike(self, site: Site, chance: random.Random) -> str:
        seconds, share, met = chance.uniform(*site.pace.weather), chance.uniform(*self.share), 0
        fault = self.make(site, chance)

        def counted(exchange: Exchange) -> None:
            nonlocal met
            met += 1
            fault(exchange)

        # Of its own, for it is drawn from in the threads of the proxy, in no order that a seed could tell.
        weather = FaultProxy.sometimes(share, counted, random.Random(chance.random()))
        always = site.farm.proxy.always
        with site.away(self.name, lasting=self.lasting * site.pace.read_timeout):
            always.update(dict.fromkeys(self.methods, weather))
            try:
                await asyncio.sleep(seconds)
                async with asyncio.timeout(60):
                    while not met:  # noqa: ASYNC110 - it is met in the proxy's threads
                        await asyncio.sleep(0.1)
            finally:
                for method in self.methods:
                    del always[method]
        return f"for {seconds:.1f} s, {share:.0%} of {'/'.join(self.methods)}: {met} requests"


def _slow(site: Site, chance: random.Random) -> Fault:
    return FaultProxy.late(chance.uniform(0.2, 0.6) * site.pace.read_timeout)


def _silent(site: Site, chance: random.Random) -> Fault:
    """The request is carried out, and the answer comes after the client has given up."""
    return FaultProxy.late(1.3 * site.pace.read_timeout)


STORE_FAULTS = (
    Weather("store full", ("PUT",), (0.5, 1.0), lambda *_: FaultProxy.status(507, "XMinioStorageFull")),
    Weather("store busy", _ALL, (0.2, 0.6), lambda *_: FaultProxy.status(503, "SlowDown")),
    Weather("store slow", _ALL, (0.1, 0.4), _slow, lasting=0.6),
    Weather("store silent", _ALL, (0.03, 0.15), _silent, lasting=1.0),
    Weather("requests lost", _ALL, (0.1, 0.5), lambda *_: FaultProxy.request_lost),
    Weather("answers lost", ("PUT", "DELETE"), (0.3, 0.8), lambda *_: FaultProxy.answer_lost),
    Weather("bodies cut", ("GET",), (0.1, 0.5), lambda *_: FaultProxy.cut(None)),
)
