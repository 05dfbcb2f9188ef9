"""How the supervisor asks a child whether it is ready: a small Protocol, over HTTP or a Redis PING."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import httpx

from synfarm.trust import trust_for

__all__ = ["HttpProbe", "Probe", "RedisProbe"]


class Probe(Protocol):
    async def __call__(self) -> str | None:
        """None when ready, else what is missing, in words."""


@dataclass(frozen=True, slots=True)
class HttpProbe:
    """Ready when a GET answers with one of ``statuses``."""

    url: str
    statuses: frozenset[int] = frozenset({200})
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout: float = 3.0

    async def __call__(self) -> str | None:
        try:
            # trust_env off: a proxy of the user's shell has nothing to do with loopback.
            async with httpx.AsyncClient(timeout=self.timeout, trust_env=False, verify=trust_for(self.url)) as client:
                response = await client.get(self.url, headers=self.headers)
        except httpx.HTTPError as error:
            return f"{self.url}: {type(error).__name__}"
        if response.status_code in self.statuses:
            return None
        return f"{self.url} answered {response.status_code}: {response.text[:200]}"


@dataclass(frozen=True, slots=True)
class RedisProbe:
    """Ready when Redis answers PONG, which it does not while it loads its file."""

    port: int
    password: str = field(repr=False)
    timeout: float = 3.0

    async def __call__(self) -> str | None:
        try:
            async with asyncio.timeout(self.timeout):
                return await self._ping()
        except (OSError, TimeoutError, EOFError) as error:
            return f"127.0.0.1:{self.port}: {type(error).__name__}"

    async def _ping(self) -> str | None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            login = f"AUTH {self.password}\r\n" if self.password else ""
            writer.write(f"{login}PING\r\n".encode())
            answers = [await reader.readline() for _ in range(2 if login else 1)]
        finally:
            writer.close()
        last = answers[-1].decode(errors="replace").strip()
        return None if last == "+PONG" else f"127.0.0.1:{self.port} answered {last!r}"
