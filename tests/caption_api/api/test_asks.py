"""Requests that make the LLM write while their client waits: few of a key, and none after the client has gone."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from synfarm_caption_api.text_generator import FakeGenerator

pytestmark = pytest.mark.integration
BODIES = {"/v1/backgrounds": {"concepts": ["dog", "cat"]}, "/v1/captions": {"concepts": ["dog"], "n": 8}}
AT_ONCE = 8
"""Questions that either of them begins with."""


class Stuck(FakeGenerator):
    """Never answers of itself; tells when so many questions are asked, and answers all when it is let go."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self._count = count
        self.asked = asyncio.Event()
        self.go = asyncio.Event()

    async def generate(self, prompt: str, **more: Any) -> Any:
        self.calls += 1
        self.in_flight += 1
        if self.in_flight == self._count:
            self.asked.set()
        try:
            await self.go.wait()
        finally:
            self.in_flight -= 1
        return await FakeGenerator().generate(prompt, **more)


def stuck(site: Any, count: int) -> Stuck:
    generator = Stuck(count)
    site.app.state.services = replace(site.services, generator=generator)
    return generator


@pytest.mark.parametrize("path", BODIES)
async def test_a_client_that_hangs_up_ends_the_work(site: Any, path: str) -> None:
    generator = stuck(site, AT_ONCE)
    content = json.dumps(BODIES[path]).encode()
    inbox = [{"type": "http.request", "body": content, "more_body": False}]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if inbox:
            return inbox.pop()
        await generator.asked.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    headers = {"host": "test", "content-type": "application/json", "authorization": f"Bearer {site.tokens['ada']}"}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("test", 80),
    }
    async with asyncio.timeout(60):
        await site.app(scope, receive, send)
    assert (generator.calls, generator.in_flight) == (AT_ONCE, 0)
    assert sent[0]["status"] == 499
    generator.go.set()
    async with site.client() as client:  # its place is free again, twice
        assert [(await client.post(path, json=BODIES[path])).status_code for _ in range(2)] == [200, 200]


@pytest.mark.parametrize("path", BODIES)
async def test_a_key_has_few_such_requests_at_a_time(site: Any, path: str) -> None:
    generator = stuck(site, 2 * AT_ONCE)
    async with site.client() as client, site.client("bob") as other, asyncio.timeout(60):
        waiting = [asyncio.ensure_future(client.post(each, json=body)) for each, body in BODIES.items()]
        await generator.asked.wait()
        refused = await client.post(path, json=BODIES[path])
        assert (refused.status_code, refused.json()["code"]) == (429, "too_many_asks")
        assert refused.headers["retry-after"] == "5"
        assert refused.json()["hint"]
        assert generator.calls == 2 * AT_ONCE
        waiting.append(asyncio.ensure_future(other.post(path, json=BODIES[path])))
        generator.go.set()
        assert [answer.status_code for answer in await asyncio.gather(*waiting)] == [200] * 3
        assert (await client.post(path, json=BODIES[path])).status_code == 200
