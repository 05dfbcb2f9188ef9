"""A server without keys answers to its own names only, or a page of the internet could use it through a browser."""

from __future__ import annotations

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from synfarm.auth import Authenticator, new_key
from synfarm.contracts.problems import PROBLEM_MEDIA_TYPE, Problem
from synfarm.host_check import is_own_name
from synfarm.settings import AuthSettings
from synfarm.web import install

OURS = ("127.0.0.1:8000", "[::1]:8000", "10.1.2.3", "localhost", "localhost:80", "caption-api:8000", "a.localhost", "")
OTHERS = ("evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example:80", "1.2.3.4.5:80")


@pytest.mark.parametrize("host", OURS)
def test_names_that_no_page_can_have(host: str) -> None:
    assert is_own_name(host)


@pytest.mark.parametrize("host", OTHERS)
def test_names_that_a_page_can_have(host: str) -> None:
    assert not is_own_name(host)


@given(st.text(max_size=60))
def test_any_header_is_judged(host: str) -> None:
    assert is_own_name(host) in {True, False}


async def _ask(authenticate: Authenticator, host: str) -> httpx.Response:
    app = FastAPI()
    install(app, authenticate)

    @app.post("/v1/jobs")
    async def make() -> str:
        return "made"

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
        return await client.post("/v1/jobs", headers={"Host": host})


async def test_without_keys_a_strange_name_is_refused_before_the_route() -> None:
    answer = await _ask(Authenticator(AuthSettings(auth="off"), []), "evil.example")
    assert (answer.status_code, answer.headers["content-type"]) == (421, PROBLEM_MEDIA_TYPE)
    problem = Problem.from_bytes(answer.content)
    assert (problem.code, problem.field) == ("host_unknown", "Host")
    assert "SYNFARM_AUTH_HOSTS" in (problem.hint or "")
    assert (await _ask(Authenticator(AuthSettings(auth="off"), []), "127.0.0.1:8000")).text == '"made"'


async def test_names_that_the_operator_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNFARM_AUTH_HOSTS", '["farm.example"]')
    settings = AuthSettings(auth="off")
    assert (await _ask(Authenticator(settings, []), "Farm.example:8000")).status_code == 200
    assert (await _ask(Authenticator(settings, []), "other.example")).status_code == 421


async def test_with_keys_any_name_will_do() -> None:
    """The key is what protects it then, and behind an ingress the name is the ingress's."""
    assert (await _ask(Authenticator(AuthSettings(), [new_key("ada")[1]]), "farm.example")).status_code == 200
