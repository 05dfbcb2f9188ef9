"""Every route of the trainer's API, walked: without a key nothing, of another owner nothing, and few are open."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.routing import Route

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.runs import DatasetRef, RunEnded, RunSpec
from synfarm_trainer.config import to_dict
from synfarm_trainer.presets import resolve

OPEN = {
    "GET /docs",
    "GET /docs/oauth2-redirect",
    "GET /healthz",
    "GET /metrics",
    "GET /openapi.json",
    "GET /readyz",
    "GET /redoc",
}
"""All that answers without a key."""
RUN, UNKNOWN = "01hzzzzzzzzzzzzzzzzzzzzzza", "01hzzzzzzzzzzzzzzzzzzzzzzz"


@pytest.fixture
def adas_run(service: Any) -> str:
    """A run of ada's that has ended, so that nothing starts it."""
    spec = RunSpec(
        run=RUN,
        owner="ada",
        created_at=utc_now(),
        name="first",
        preset="tiny",
        datasets=(DatasetRef(job=service.add_job(owner="ada"), generation=1, manifest_sha256="0" * 64),),
        seed=0,
        ranks=1,
        config=to_dict(resolve("tiny")),
    )
    service.store.create(layout.run(RUN), spec.to_bytes())
    ended = RunEnded(run=RUN, state="completed", step=1, ended_at=utc_now())
    service.store.create(layout.run_ended(RUN), ended.to_bytes())
    service.store.put(layout.export_file(RUN, "backbone.safetensors"), b"weights")
    return RUN


def routes(app: Any) -> Iterator[tuple[str, str]]:
    for route in app.routes:
        if (included := getattr(route, "original_router", None)) is not None:  # FastAPI's own kind of mount
            yield from routes(included)
        elif isinstance(route, Route):
            for method in sorted(set(route.methods or ()) - {"HEAD"}):
                yield method, route.path


def filled(path: str, run: str) -> str:
    known = {"run": run, "name": "backbone.safetensors" if "artifacts" in path else "tiny"}
    return re.sub(r"\{(\w+)(?::\w+)?\}", lambda found: known[found.group(1)], path)


def test_every_route_asks_for_a_key_but_those_that_are_listed(
    service: Any, two_users: dict[str, dict[str, str]], adas_run: str
) -> None:
    wrong = {"Authorization": "Bearer sf_" + "x" * 43}
    with service.open() as client:
        walked = list(routes(client.app))
        answered = set()
        for method, path in walked:
            if client.request(method, filled(path, adas_run)).status_code != 401:
                answered.add(f"{method} {path}")
            elif path.startswith("/v1"):
                told = client.request(method, filled(path, adas_run), headers=wrong)
                assert (told.status_code, told.json()["code"]) == (401, "key_unknown"), path
    assert answered == OPEN
    assert len(walked) > 15


def test_what_belongs_to_another_owner_is_not_there(
    service: Any, two_users: dict[str, dict[str, str]], adas_run: str
) -> None:
    """404, the same as for what does not exist: whether an id exists is told to nobody."""
    with service.open() as client:
        for method, path in routes(client.app):
            if "{run}" not in path:
                continue
            told = []
            for run in (adas_run, UNKNOWN):
                body = {"weights": [1, 1]} if path.endswith("/weights") else None
                answer = client.request(method, filled(path, run), headers=two_users["bob"], json=body)
                told.append((answer.status_code, answer.text.replace(run, "X")))
            assert told[0][0] == 404, (method, path, told)
            assert told[0] == told[1], (method, path)
        assert adas_run not in client.get("/v1/runs", headers=two_users["bob"]).text
        for who in ("ada", "root"):
            assert adas_run in client.get("/v1/runs", headers=two_users[who]).text
        jobs = [RunSpec.from_bytes(service.store.get(layout.run(adas_run))).datasets[0].job]
        foreign = client.post("/v1/runs", json={"jobs": jobs}, headers=two_users["bob"])
        assert foreign.status_code == 404, "another owner's job is no data of mine"
