"""A scripted HTTP server, a clock that tests turn, and servers that answer as a test says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from synfarm_caption_api.llm.breaker import Breaker
from synfarm_caption_api.llm.limiter import AdaptiveLimit
from synfarm_caption_api.llm.metrics import LlmMetrics
from synfarm_caption_api.llm.routed import RetryPolicy, RoutedGenerator
from synfarm_caption_api.llm.server import Server
from synfarm_caption_api.llm.wire import Ask, ServerInfo
from synfarm_caption_api.text_generator import Generation, ModelInfo

Answer = tuple[int, Any] | tuple[int, Any, dict[str, str]]


@dataclass
class HttpServer:
    """Answers the script of each path in turn, then its last line for ever; remembers what was asked."""

    script: dict[str, list[Answer]]
    url: str = ""
    asked: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        path = head[0].split()[1]
        lines = self.script.get(path, [(404, {"error": "no such route"})])
        line = lines.pop(0) if len(lines) > 1 else lines[0]
        status, answer, more = (*line, {}) if len(line) == 2 else line
        self.asked.append((path, headers, json.loads(body) if body else None))
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        reply = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\n"
        reply += "".join(f"{name}: {value}\r\n" for name, value in more.items())
        writer.write(reply.encode() + b"connection: close\r\n\r\n" + data)
        await writer.drain()
        writer.close()


@asynccontextmanager
async def _serving(script: dict[str, list[Answer]]) -> AsyncIterator[HttpServer]:
    server = HttpServer(script)
    listener = await asyncio.start_server(server.handle, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listener.close()


@pytest.fixture
def serving() -> Callable[[dict[str, list[Answer]]], AbstractAsyncContextManager[HttpServer]]:
    """``async with serving({path: [(status, body)]}) as server``."""
    return _serving


@dataclass(eq=False)
class _Timer:
    at: float
    call: Callable[[], Any]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


class TurnedClock:
    """Time passes when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.timers: list[_Timer] = []

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[..., Any], *args: Any) -> _Timer:
        self.timers.append(_Timer(self.now + delay, lambda: callback(*args)))
        return self.timers[-1]

    async def settle(self) -> None:
        """Let everything run that waits for no time."""
        for _ in range(30):
            await asyncio.sleep(0)

    async def turn(self, seconds: float) -> None:
        """Let so much time pass, timer by timer."""
        end = self.now + seconds
        await self.settle()
        while due := [t for t in self.timers if t.at <= end and not t.cancelled]:
            timer = min(due, key=lambda t: t.at)
            self.timers.remove(timer)
            self.now = max(self.now, timer.at)
            timer.call()
            await self.settle()
        self.now = end


GOOD = Generation(" a red dog\n", "stop_sequence", 4)


class Llm:
    """A server without a wire: ``reply`` is what a request gets, ``there`` what a probe gets."""

    def __init__(self, name: str, clock: TurnedClock, *, model: str = "smol", cap: int | None = None) -> None:
        self.url, self.clock = f"http://{name}", clock
        self.info = ServerInfo(ModelInfo(model), cap)
        self.there: Exception | None = None
        self.script: list[Exception] = []
        self.error: Exception | None = None
        self.gate: asyncio.Event | None = None
        self.asked: list[Ask] = []
        self.probes: list[float] = []
        self.now = self.peak = 0

    async def discover(self) -> Llm:
        self.probes.append(self.clock.time())
        if self.there is not None:
            raise self.there
        return self

    async def complete(self, ask: Ask) -> Generation:
        self.asked.append(ask)
        self.now += 1
        self.peak = max(self.peak, self.now)
        try:
            if self.gate is not None:
                await self.gate.wait()
            else:
                await asyncio.sleep(0)
        finally:
            self.now -= 1
        if self.script:
            raise self.script.pop(0)
        if self.error is not None:
            raise self.error
        return GOOD


@dataclass
class Rig:
    """A generator over servers that a test controls; draws are one half, so every pause is half its bound."""

    clock: TurnedClock
    llms: tuple[Llm, ...]
    servers: tuple[Server, ...]
    generator: RoutedGenerator
    registry: CollectorRegistry

    def ask(self, seed: int = 7) -> asyncio.Task[Generation]:
        return asyncio.create_task(
            self.generator.generate("dog =>", seed=seed, temperature=0.8, top_p=0.9, max_new_tokens=20, stop=("\n",))
        )

    def metric(self, name: str, **labels: str) -> float:
        value = self.registry.get_sample_value(f"synfarm_caption_llm_{name}", labels)
        assert value is not None, name
        return value


@pytest.fixture
def clock() -> TurnedClock:
    return TurnedClock()


async def _nothing() -> None:
    return None


@pytest.fixture
async def rig(clock: TurnedClock) -> AsyncIterator[Callable[..., Rig]]:
    made: list[RoutedGenerator] = []

    def build(
        *models: str,
        limit: int = 8,
        start: int = 16,
        tries: int = 6,
        away: float = 5.0,
        patience: float = 60.0,
        caps: Sequence[int | None] = (),
        close: Callable[[], Awaitable[None]] = _nothing,
    ) -> Rig:
        registry = CollectorRegistry()
        metrics = LlmMetrics(registry)
        names = models or ("smol",)
        llms = tuple(Llm(f"s{i}", clock, model=model, cap=caps[i] if caps else None) for i, model in enumerate(names))
        servers = tuple(
            Server(
                llm.url,
                llm.discover,  # type: ignore[arg-type]
                AdaptiveLimit(limit, start=start),
                breaker=Breaker(threshold=3),
                clock=clock,
                draw=lambda: 0.5,
                metrics=metrics.of(llm.url.removeprefix("http://")),
                patience=patience,
            )
            for llm in llms
        )
        generator = RoutedGenerator(
            servers,
            RetryPolicy(tries=tries, away=away),
            clock=clock,
            draw=lambda: 0.5,
            waiting=metrics.waiting,
            close=close,
        )
        made.append(generator)
        return Rig(clock, llms, servers, generator, registry)

    yield build
    for generator in made:
        await generator.aclose()
