"""Fixtures of the LLM server's tests: the tiny model, an engine over it, a server in a thread."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn

from synfarm.auth import Authenticator
from synfarm.settings import AuthSettings
from synfarm_llm_server.app import create_app
from synfarm_llm_server.engine.loop import Engine, EngineLimits
from synfarm_llm_server.engine.request import Generation, Sampling, TokenEvent
from synfarm_llm_server.model.loading import LoadedModel, load_model
from synfarm_llm_server.settings import LlmSettings


@dataclass
class Ticket:
    """One generation under test and its events."""

    order: Generation | None = None
    events: queue.Queue[Any] = field(default_factory=queue.Queue)

    def result(self) -> list[TokenEvent]:
        collected: list[TokenEvent] = []
        while True:
            event = self.events.get(timeout=30)
            if isinstance(event, Exception):
                raise event
            collected.append(event)
            if event.finish:
                return collected

    def ids(self) -> list[int]:
        return [event.token.id for event in self.result()]


class Bench:
    """An engine that has not started yet, so that a test decides what is queued at its first step."""

    def __init__(self, model: LoadedModel, **limits: int) -> None:
        sizes = {"rows": 16, "total_tokens": 256, "prefill_tokens": 1024, "prefix_tokens": 0} | limits
        self.failures: list[Exception] = []
        self.model = model
        self.engine = Engine(model, EngineLimits(**sizes), self.failures.append)

    def put(
        self, text: str, new: int = 12, *, stop: tuple[str, ...] = (), prefill: bool = False, **sampling: Any
    ) -> Ticket:
        ticket = Ticket()
        prompt = tuple(self.model.tokenizer.encode(text).ids)
        ticket.order = Generation(prompt, new, Sampling(**sampling), ticket.events.put, stop, prefill)
        self.engine.submit(ticket.order)
        return ticket


@pytest.fixture(scope="session")
def tiny() -> LoadedModel:
    """The random model without an end token, so that lengths are what a test asks for."""
    model = load_model(LlmSettings(model="tiny"))
    return LoadedModel(model.network, model.tokenizer, frozenset(), model.special_ids, "tiny", None)


@pytest.fixture
def bench(tiny: LoadedModel) -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(**limits: int) -> Bench:
        made.append(Bench(tiny, **limits))
        return made[-1]

    yield make
    for each in made:
        each.engine.stop()


@pytest.fixture
def serve(tiny: LoadedModel) -> Iterator[Callable[..., Any]]:
    """Start a server over the tiny model in a thread; gives (base url, service)."""
    running: list[tuple[uvicorn.Server, threading.Thread]] = []

    def start(**settings: Any) -> tuple[str, Any]:
        chosen = LlmSettings(model="tiny", **({"max_input_tokens": 200, "max_total_tokens": 256} | settings))
        app = create_app(chosen, Authenticator(AuthSettings(), []), lambda _: None, lambda _: tiny)
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        running.append((server, thread))
        while not (server.started and app.state.service.healthy):
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}", app.state.service

    yield start
    for server, thread in running:
        server.should_exit = True
        thread.join(10)
