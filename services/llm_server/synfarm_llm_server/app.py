"""Composition root: settings in, a running server out."""

from __future__ import annotations

import asyncio
import importlib.metadata
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, Header

from synfarm.auth import Authenticator
from synfarm.telemetry import get_logger
from synfarm_llm_server.api.completions import completion_routes
from synfarm_llm_server.api.errors import install_errors
from synfarm_llm_server.api.native import native_routes
from synfarm_llm_server.api.operations import operation_routes
from synfarm_llm_server.engine.loop import Engine, EngineLimits
from synfarm_llm_server.metrics import LlmMetrics
from synfarm_llm_server.model.loading import LoadedModel, load_model
from synfarm_llm_server.service import GenerationService
from synfarm_llm_server.settings import LlmSettings

__all__ = ["create_app"]

_log = get_logger(__name__)


def create_app(
    settings: LlmSettings,
    authenticate: Authenticator,
    on_failure: Callable[[Exception], None],
    load: Callable[[LlmSettings], LoadedModel] = load_model,
) -> FastAPI:
    """The application; the model loads in a thread after start-up, and ``/health`` says 503 until it has.

    ``on_failure`` is called once if the model cannot be loaded or the engine fails; the process should then end.
    """
    service = GenerationService(settings.max_concurrent_requests, LlmMetrics())

    def start_engine() -> tuple[LoadedModel, Engine]:
        model = load(settings)
        limits = EngineLimits(
            settings.max_batch_size,
            settings.max_total_tokens,
            settings.max_batch_prefill_tokens,
            settings.prefix_cache_tokens,
        )
        return model, Engine(model, limits, on_failure)

    async def bring_up() -> Engine | None:
        try:
            model, engine = await asyncio.to_thread(start_engine)
        except Exception as error:  # noqa: BLE001  reported, and the process ends
            _log.error("model_not_loaded", error=str(error))
            on_failure(error)
            return None
        engine.start()
        service.ready(model, engine)
        _log.info("model_ready", model=model.model_id, dtype=str(model.dtype), device=str(model.device))
        return engine

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        starting = asyncio.create_task(bring_up())
        yield
        engine = await starting
        if engine is not None:
            await asyncio.to_thread(engine.stop)

    def key_check(authorization: Annotated[str | None, Header()] = None) -> None:
        authenticate(authorization)

    version = importlib.metadata.version("synfarm")
    app = FastAPI(title="synfarm llm-server", version=version, lifespan=lifespan)
    app.state.service = service
    install_errors(app)
    app.include_router(native_routes(service, settings), dependencies=[Depends(key_check)])
    app.include_router(completion_routes(service, settings), dependencies=[Depends(key_check)])
    app.include_router(operation_routes(service, settings, version))
    return app
