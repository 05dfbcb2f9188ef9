"""The FastAPI application over given services: no settings, no connections, so that tests build it with fakes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from fastapi import FastAPI, Request, Response

from synfarm.auth import Authenticator
from synfarm.contracts.problems import PROBLEM_MEDIA_TYPE, Problem
from synfarm.storage.protocol import StoreError
from synfarm.telemetry import get_logger
from synfarm.web import install
from synfarm_caption_api.api import (
    backgrounds,
    caption_files,
    concept_sets,
    contents,
    jobs,
    operations,
    prompts,
    reports,
    samples,
    steering,
)
from synfarm_caption_api.api.describing import describe
from synfarm_caption_api.api.metrics import ApiMetrics, MeasureRequests
from synfarm_caption_api.web.application import mount_web
from synfarm_caption_api.web.trainer import Trainer

__all__ = ["make_application"]

_log = get_logger(__name__)
Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def make_application(
    authenticate: Authenticator,
    metrics: ApiMetrics,
    lifespan: Lifespan,
    *,
    body_limit: int = 16 << 20,
    trainer: Trainer | None = None,
) -> FastAPI:
    """The application; ``lifespan`` sets ``app.state.services`` (see :mod:`synfarm_caption_api.api.services`).

    Args:
        trainer: for the page's part about runs; the API does without.
    """
    app = FastAPI(title="synfarm caption-api", version="1", lifespan=lifespan)
    install(app, authenticate, body_limit=body_limit)
    app.add_middleware(MeasureRequests, metrics=metrics)
    for module in (
        jobs,
        steering,
        contents,
        reports,
        samples,
        prompts,
        backgrounds,
        concept_sets,
        caption_files,
        operations,
    ):
        app.include_router(module.router)
    describe(app)
    mount_web(app, trainer)

    @app.exception_handler(StoreError)
    async def _store_away(request: Request, error: StoreError) -> Response:
        _log.error("store_failed", path=request.url.path, error=str(error))
        problem = Problem(
            title="store away",
            status=503,
            detail="The object store does not answer as it should.",
            code="store_away",
            hint="Send the request again, with the same Idempotency-Key; GET /readyz tells more.",
        )
        return Response(problem.to_bytes(), 503, {"Retry-After": "5"}, PROBLEM_MEDIA_TYPE)

    return app
