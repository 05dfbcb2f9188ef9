"""A browser without scripts over the application in this process, and a trainer that answers from memory."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request, Response

from synfarm.contracts.base import utc_now
from synfarm.contracts.problems import PROBLEM_MEDIA_TYPE, ProblemError
from synfarm.contracts.runs import RunRequest, StepMetrics
from synfarm.contracts.views import RunView
from synfarm_caption_api.web.trainer import Trainer

RUN = "01k" + "1" * 23
HTML = {"Accept": "text/html,application/xhtml+xml"}
Open = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture
def open_page(site: Any) -> Open:
    """``async with open_page("ada") as page``: a browser that ada has signed in with; None: nobody has."""

    @asynccontextmanager
    async def page(who: str | None = "ada") -> AsyncIterator[httpx.AsyncClient]:
        transport = httpx.ASGITransport(site.app, raise_app_exceptions=False)
        headers = {**HTML, "Sec-Fetch-Site": "same-origin"}
        async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers) as client:
            if who is not None:
                answer = await client.post("/ui/sign-in", data={"key": site.tokens[who]})
                assert answer.status_code == 303
            yield client

    return page


def _step(step: int, **losses: float) -> StepMetrics:
    return StepMetrics(
        step=step,
        at=utc_now(),
        epoch=step / 10,
        losses=losses or {"contrastive": 5 - step / 100, "total": 5 - step / 100},
        loss_hex=(5 - step / 100).hex(),
        batch_sha256="0" * 64,
        learning_rate=step / 1000,
        ema_momentum=0.99,
        seconds=0.5,
        data_wait_seconds=0.05,
        images_per_second=100.0,
        monitors={"gradient_norm": 1.0},
    )


@pytest.fixture
def make_step() -> Callable[..., StepMetrics]:
    return _step


@dataclass
class FakeTrainer:
    """The trainer's API over a few values; counts what it was asked."""

    views: dict[str, RunView] = field(default_factory=dict)
    steps: list[StepMetrics] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    checkpoints: list[dict[str, Any]] = field(default_factory=list)
    refuse: ProblemError | None = None
    started: list[RunRequest] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def view(self, **changes: Any) -> RunView:
        made = RunView.model_validate(
            {
                "run": RUN,
                "name": "pets",
                "owner": "ada",
                "preset": "tiny",
                "state": "running",
                "created_at": utc_now(),
                "datasets": [{"job": "01k" + "0" * 23, "generation": 1, "manifest_sha256": "0" * 64}],
                "step": 20,
                "total_steps": 200,
                "percent": 10.0,
                "losses": {"contrastive": 4.8, "total": 4.8},
                "attempt": 0,
                "as_of": utc_now(),
                **changes,
            }
        )
        self.views[made.run] = made
        return made

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.middleware("http")
        async def note(request: Request, call_next: Any) -> Response:
            self.asked.append(f"{request.method} {request.url.path}")
            self.keys.append(request.headers.get("authorization"))
            if self.refuse is not None:
                problem = self.refuse.problem
                return Response(problem.to_bytes(), problem.status, media_type=PROBLEM_MEDIA_TYPE)
            found: Response = await call_next(request)
            return found

        @app.get("/v1/runs")
        async def page() -> Any:
            return {"items": [v.model_dump(mode="json") for v in self.views.values()], "next_cursor": None}

        @app.post("/v1/runs", status_code=201)
        async def start(body: RunRequest) -> RunView:
            self.started.append(body)
            return self.view(name=body.name)

        @app.get("/v1/runs/{run}")
        async def one(run: str) -> Any:
            if run in self.views:
                return self.views[run]
            problem = ProblemError(404, "run_not_found", "no such run").problem
            return Response(problem.to_bytes(), 404, media_type=PROBLEM_MEDIA_TYPE)

        @app.get("/v1/runs/{run}/spec")
        async def spec(run: str) -> Any:
            view = self.views[run].model_dump(mode="json")
            kept = {name: view[name] for name in ("run", "owner", "created_at", "name", "preset", "datasets")}
            return {**kept, "seed": 0, "ranks": 1, "config": {"optim": {"lr": 0.001}, "schedule": {"steps": 200}}}

        @app.get("/v1/runs/{run}/metrics")
        async def metrics(since: int, limit: int) -> Any:
            found = [step for step in self.steps if step.step > since][:limit]
            last = found[-1].step if found else since
            return {"items": [step.model_dump(mode="json") for step in found], "next_since": last}

        @app.get("/v1/runs/{run}/checkpoints")
        async def checkpoints() -> Any:
            return {"items": self.checkpoints}

        @app.get("/v1/runs/{run}/artifacts")
        async def artifacts() -> Any:
            return {"items": [{"name": name, "size": len(data)} for name, data in self.files.items()]}

        @app.get("/v1/runs/{run}/artifacts/{name}")
        async def artifact(name: str) -> Response:
            kind = "image/png" if name.endswith(".png") else "text/html"
            return Response(self.files[name], media_type=kind)

        @app.post("/v1/runs/{run}/stop", status_code=202)
        async def stop(run: str) -> RunView:
            return self.views[run]

        return app


@pytest.fixture
async def trainer(site: Any) -> AsyncIterator[FakeTrainer]:
    """The trainer of the site's page."""
    fake = FakeTrainer()
    client = Trainer("http://trainer", transport=httpx.ASGITransport(fake.app()))
    site.app.state.web = dataclasses.replace(site.app.state.web, trainer=client)
    yield fake
    await client.aclose()
