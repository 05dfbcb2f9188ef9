"""Faults of Redis: memory lost or set back, connections lost, no answers; messages doubled, lost and late."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from redis.exceptions import RedisError
from tests.chaos.random_faults.repairs import Loss
from tests.chaos.random_faults.site import Site

from synfarm.contracts.renders import UnitTask

__all__ = ["REDIS_FAULTS", "DropMessages", "DuplicateMessages", "Flush", "LateMessages", "LostFile", "SetBack"]

_TOUCHES = frozenset({"redis"})
_FILE = "appendonlydir"


@dataclass(frozen=True)
class Flush:
    name: str = "flush redis"
    touches: frozenset[str] = _TOUCHES

    async def strike(self, site: Site, chance: random.Random) -> str:
        lost = await site.in_flight()
        await _until_it_answers(site.redis.flushall)
        site.forgets()
        return f"{site.lose(self.name, lost)} units in flight"


@dataclass(frozen=True)
class LostFile:
    """Redis is killed and comes back with nothing."""

    name: str = "redis loses its file"
    touches: frozenset[str] = _TOUCHES

    async def strike(self, site: Site, chance: random.Random) -> str:
        lost, pid, live = await site.in_flight(), await site.running("redis"), site.farm.folder / "redis" / _FILE
        live.rename(live.with_name(f"lost-{pid}"))
        site.send(pid, signal.SIGKILL)
        site.forgets()
        return f"{site.lose(self.name, lost)} units in flight"


@dataclass(frozen=True)
class SetBack:
    """Redis is killed and comes back with what it held some seconds ago."""

    name: str = "redis set back"
    touches: frozenset[str] = _TOUCHES

    async def strike(self, site: Site, chance: random.Random) -> str:
        await site.running("redis")
        live, seconds = site.farm.folder / "redis" / _FILE, chance.uniform(1.0, 3.0)
        old = live.with_name("old")
        await asyncio.to_thread(shutil.copytree, live, old)
        await asyncio.sleep(seconds)
        lost, pid = await site.in_flight(), await site.running("redis")
        # Moved before the kill, so that the next start finds the old file however soon it comes.
        live.rename(live.with_name(f"newer-{pid}"))
        old.rename(live)
        site.send(pid, signal.SIGKILL)
        site.forgets()
        return f"by {seconds:.1f} s, {site.lose(self.name, lost)} units in flight"


@dataclass(frozen=True)
class HangUp:
    """Every connection to Redis is closed."""

    name: str = "redis hangs up"
    touches: frozenset[str] = _TOUCHES

    async def strike(self, site: Site, chance: random.Random) -> str:
        closed = await _until_it_answers(lambda: site.redis.client_kill_filter(_type="normal", skipme=True))
        return f"{closed} connections"


@dataclass(frozen=True)
class Silent:
    """Redis stands still."""

    name: str = "redis silent"
    touches: frozenset[str] = _TOUCHES

    async def strike(self, site: Site, chance: random.Random) -> str:
        pid, seconds = await site.running("redis"), chance.uniform(1.0, 2.0) * site.pace.lock
        with site.away(self.name):
            site.send(pid, signal.SIGSTOP)
            try:
                await asyncio.sleep(seconds)
            finally:
                site.send(pid, signal.SIGCONT)
        return f"for {seconds:.1f} s"


@dataclass(frozen=True)
class DuplicateMessages:
    name: str = "duplicate messages"
    touches: frozenset[str] = _TOUCHES

    async def strike(self, site: Site, chance: random.Random) -> str:
        found = await _messages(site, chance)
        for queue, message in found:
            await _until_it_answers(lambda q=queue, m=message: site.redis.lpush(q, m))
        return _told(found)


@dataclass(frozen=True)
class DropMessages:
    name: str = "drop messages"
    touches: frozenset[str] = _TOUCHES

    async def strike(self, site: Site, chance: random.Random) -> str:
        found = await _messages(site, chance)
        dropped = [
            (queue, message)
            for queue, message in found
            if await _until_it_answers(lambda q=queue, m=message: site.redis.lrem(q, 1, m))
        ]
        tasks = [_task(message) for _, message in dropped]
        site.lose(self.name, [Loss(task.job, task.unit, sequence=task.sequence, queue=task.queue) for task in tasks])
        return _told(dropped)


@dataclass(frozen=True)
class LateMessages:
    """Messages come a second time when their units are long done, or sent again."""

    name: str = "late messages"
    touches: frozenset[str] = frozenset()

    async def strike(self, site: Site, chance: random.Random) -> str:
        found = await _messages(site, chance)
        await asyncio.sleep(chance.uniform(1.0, 2.0) * site.pace.lease)
        for queue, message in found:
            await _until_it_answers(lambda q=queue, m=message: site.redis.lpush(q, m))
        return _told(found)


async def _until_it_answers(ask: Callable[[], Any]) -> Any:
    """The answer of Redis, which another fault may just have taken away."""
    async with asyncio.timeout(120):
        while True:
            try:
                return await asyncio.to_thread(ask)
            except RedisError:
                await asyncio.sleep(0.2)


async def _messages(site: Site, chance: random.Random) -> list[tuple[str, str]]:
    """Up to three messages that wait now, each with the key of its queue; waits until there are some."""
    keys = site.farm.keys
    patterns = (keys.queue("caption.*"), keys.queue("render.*"))

    def look() -> list[tuple[str, str]]:
        queues = sorted(queue for pattern in patterns for queue in site.redis.scan_iter(pattern, count=1000))
        waiting = [(queue, message) for queue in queues for message in site.redis.lrange(queue, 0, -1)]
        return chance.sample(waiting, min(len(waiting), 3))

    async with asyncio.timeout(120):
        while not (found := await _until_it_answers(look)):  # noqa: ASYNC110 - they are in Redis
            await asyncio.sleep(0.02)
    return list(found)


def _task(message: str) -> UnitTask:
    arguments = json.loads(base64.b64decode(json.loads(message)["body"]))[0]
    return UnitTask.model_validate(arguments[0])


def _told(messages: list[tuple[str, str]]) -> str:
    return ", ".join(f"{task.queue} {task.job[-4:]}/{task.unit}" for task in (_task(m) for _, m in messages)) or "none"


REDIS_FAULTS = (
    Flush(),
    LostFile(),
    SetBack(),
    HangUp(),
    Silent(),
    DuplicateMessages(),
    DropMessages(),
    LateMessages(),
)
