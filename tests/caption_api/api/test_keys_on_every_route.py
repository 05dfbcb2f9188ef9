"""Every route of the API and of the page, walked: without a key nothing, of another owner nothing, and few are open."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.routing import Mount, Route

pytestmark = pytest.mark.integration

OPEN = {
    "GET /",  # leads to the page
    "GET /docs",
    "GET /docs/oauth2-redirect",
    "GET /healthz",
    "GET /metrics",
    "GET /openapi.json",
    "GET /readyz",
    "GET /redoc",
    "GET /ui/sign-in",
    "POST /ui/sign-in",
}
"""All that answers without a key, but for the page's static files, and leaving, which leads to the sign-in."""
OWN_PAGE = {"Origin": "http://test", "Sec-Fetch-Site": "same-origin"}
"""As the page's own forms send it: what comes from another site is refused before anybody asks for a key."""
NAMES = {"name": "mine", "n": "0", "part": "0", "k": "0"}


def routes(app: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """(method, path) of each route, of mounted applications too."""
    for route in app.routes:
        if isinstance(route, Mount):
            if route.name != "static" and "/static" not in route.path:
                yield from routes(route.app, prefix + route.path)
        elif (included := getattr(route, "original_router", None)) is not None:  # FastAPI's own kind of mount
            yield from routes(included, prefix)
        elif isinstance(route, Route):
            for method in sorted(set(route.methods or ()) - {"HEAD"}):
                yield method, prefix + route.path


def filled(path: str, job: str) -> str:
    known = {**NAMES, "job": job, "caption_id": f"{job}-0000000000", "run": job}
    return re.sub(r"\{(\w+)(?::\w+)?\}", lambda found: known.get(found.group(1), "x"), path)


async def test_every_route_asks_for_a_key_but_those_that_are_listed(site: Any, renders: Any) -> None:
    job = renders.job().job
    walked, answered = set(), set()
    async with site.client(None) as nobody:
        for method, path in routes(site.app):
            walked.add(f"{method} {path}")
            if path in {"/healthz", "/readyz", "/metrics"}:
                continue
            answer = await nobody.request(method, filled(path, job), headers=OWN_PAGE)
            asked = answer.status_code == 401 or "/ui/sign-in" in answer.headers.get("location", "")
            if not asked:
                answered.add(f"{method} {path}")
    assert {"GET /v1/jobs", "DELETE /v1/jobs/{job}", "POST /v1/captions", "GET /ui/jobs/{job}"} <= walked
    assert len(walked) > 50
    assert answered | {"GET /healthz", "GET /readyz", "GET /metrics"} == OPEN


async def test_a_wrong_key_is_no_key(site: Any, renders: Any) -> None:
    job = renders.job().job
    site.tokens["nobody"] = "sf_" + "x" * 43
    async with site.client("nobody") as client:
        for method, path in routes(site.app):
            if path.startswith("/v1"):
                answer = await client.request(method, filled(path, job))
                assert (answer.status_code, answer.json()["code"]) == (401, "key_unknown"), (method, path)


async def test_what_belongs_to_another_owner_is_not_there(site: Any, renders: Any) -> None:
    """404, the same as for what does not exist: whether an id exists is told to nobody."""
    job, unknown = renders.job().job, "01k" + "0" * 23
    async with site.client("bob") as bob, site.client("ada") as ada:
        mine = await ada.put("/v1/concept-sets/mine", json={"concepts": ["dog"]})
        assert mine.status_code < 300, mine.text
        for method, path in routes(site.app):
            name = f"{method} {path}"
            if "{job}" not in path or (method == "POST" and path.startswith("/ui")):  # whose forms call the same code
                continue
            told = []
            for of in (job, unknown):
                body = {"captions": 400} if path.endswith("/extend") else None
                answer = await bob.request(method, filled(path, of), json=body, headers=OWN_PAGE)
                told.append((answer.status_code, answer.text.replace(of, "X")))
            assert told[0][0] == 404, (name, told)
            assert told[0] == told[1], name
        assert (await bob.get("/v1/concept-sets/mine")).status_code == 404
        await bob.delete("/v1/concept-sets/mine")
        assert (await ada.get("/v1/concept-sets/mine")).status_code == 200
        assert "mine" not in (await bob.get("/v1/concept-sets")).text
        assert job not in (await bob.get("/v1/jobs")).text
        assert job in (await ada.get("/v1/jobs")).text
