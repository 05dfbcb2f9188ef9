"""The shared HTTP behaviour: errors are problem+json, keys come first, bodies are bounded, events carry ids."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

import httpx
import pytest
from fastapi import FastAPI, Response
from pydantic import BaseModel, Field

from synfarm.auth import Authenticator, new_key
from synfarm.contracts.base import utc_now
from synfarm.contracts.events import Event, EventType
from synfarm.contracts.problems import PROBLEM_MEDIA_TYPE, Problem, ProblemError
from synfarm.settings import AuthSettings
from synfarm.web import CurrentPrincipal, event_stream, install

KEY, RECORD = new_key("ada")


class _Body(BaseModel):
    captions: Annotated[int, Field(gt=0)]


@pytest.fixture
def app() -> FastAPI:
    app = FastAPI()
    install(app, Authenticator(AuthSettings(), [RECORD]), body_limit=200)

    @app.post("/things")
    async def make(body: _Body, who: CurrentPrincipal) -> dict[str, str]:
        return {"owner": who.owner}

    @app.get("/teapot")
    async def teapot() -> None:
        raise ProblemError(418, "teapot", "No coffee.", field="drink", hint="Ask for tea.")

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("a secret detail")

    @app.get("/events")
    async def events() -> Response:
        async def some() -> AsyncIterator[Event]:
            for n in (1, 2):
                yield Event(id=f"e-{n}", type=EventType.PROGRESS, at=utc_now(), data={"n": n})

        return event_stream(some())

    return app


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


def _problem(answer: httpx.Response) -> Problem:
    assert answer.headers["content-type"] == PROBLEM_MEDIA_TYPE
    return Problem.from_bytes(answer.content)


async def test_keys(client: httpx.AsyncClient) -> None:
    refused = await client.post("/things", json={"captions": 1})
    assert _problem(refused).code == "key_missing"
    assert refused.headers["www-authenticate"] == "Bearer"
    answer = await client.post("/things", json={"captions": 1}, headers={"Authorization": f"Bearer {KEY}"})
    assert answer.json() == {"owner": "ada"}


async def test_invalid_bodies_name_the_field_and_the_next_step(client: httpx.AsyncClient) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}
    problem = _problem(await client.post("/things", json={"captions": 0}, headers=headers))
    assert (problem.status, problem.code, problem.field) == (422, "invalid_request", "captions")
    assert "captions" in (problem.hint or "")


async def test_problems_unknown_paths_and_crashes(client: httpx.AsyncClient) -> None:
    assert _problem(await client.get("/teapot")).hint == "Ask for tea."
    assert _problem(await client.get("/nowhere")).code == "not_found"
    assert _problem(await client.get("/things")).code == "method_not_allowed"
    crash = await client.get("/broken")
    assert _problem(crash).code == "internal_error"
    assert "secret" not in crash.text


async def test_bodies_above_the_limit_are_refused_with_and_without_a_length(client: httpx.AsyncClient) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}
    assert _problem(await client.post("/things", content=b"x" * 201, headers=headers)).code == "body_too_large"

    async def stream() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield b"x" * 100

    assert _problem(await client.post("/things", content=stream(), headers=headers)).code == "body_too_large"


async def test_events_carry_id_type_and_json(client: httpx.AsyncClient) -> None:
    text = (await client.get("/events")).text
    blocks = [dict(line.split(": ", 1) for line in block.splitlines()) for block in text.strip().split("\n\n")]
    assert [b["id"] for b in blocks] == ["e-1", "e-2"]
    assert blocks[0]["event"] == "progress"
    assert Event.from_bytes(blocks[1]["data"]).data == {"n": 2}
