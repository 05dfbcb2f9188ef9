"""Routes for operators and orchestrators: workers, health, readiness, metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Literal

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from redis.exceptions import AuthenticationError, RedisError, ResponseError

from synfarm.contracts import layout
from synfarm.contracts.base import Contract
from synfarm.contracts.problems import ProblemError
from synfarm.contracts.workers import WorkerList
from synfarm.queue.presence import live_workers
from synfarm.storage.protocol import StoreError
from synfarm.web import CurrentPrincipal
from synfarm_caption_api.api.services import ApiServices, Services
from synfarm_caption_api.text_generator import GeneratorAway

__all__ = ["router"]

router = APIRouter(tags=["operations"])
_PROBE_SECONDS = 5.0


class Health(Contract):
    status: Literal["ok", "hung"]
    feeder: Literal["leading", "watching", "off"]
    last_pass_age_seconds: float | None = None
    """Since the feeder's last whole pass; grows while Redis or the store is away."""
    failure: str | None = None
    """What the feeder's last pass failed at; its log has what was said."""


class Dependency(Contract):
    ok: bool
    detail: str | None = None
    """In words of ours: what was said, and by which address, is in the log."""


class Readiness(Contract):
    ready: bool
    dependencies: dict[str, Dependency]


@router.get("/v1/workers", summary="See the live workers")
def workers(who: CurrentPrincipal, services: Services) -> WorkerList:
    """Live workers, what they serve and what they do; units of other owners' jobs are shown to admins only."""
    try:
        found = live_workers(services.redis, services.keys)
    except RedisError as error:
        raise ProblemError(503, "redis_away", "Redis does not answer.", hint="Try again later.") from error
    if who.role != "admin":
        found = [worker.model_copy(update={"units": ()}) for worker in found]
    return WorkerList(items=tuple(found))


@router.get("/healthz", summary="Whether this process works")
async def healthz(services: Services, response: Response) -> Health:
    """Whether this process works. A dependency that is away does not make it ill: a restart would not help."""
    pulse = services.pulse
    if pulse is None:
        return Health(status="ok", feeder="off")
    hung = pulse.failure is None and pulse.age_seconds > services.health_age_seconds
    response.status_code = 503 if hung else 200
    return Health(
        status="hung" if hung else "ok",
        feeder="leading" if pulse.leading else "watching",
        last_pass_age_seconds=round(pulse.age_seconds, 3),
        failure=pulse.failure,
    )


@router.get("/readyz", summary="Whether its dependencies answer")
async def readyz(services: Services, response: Response) -> Readiness:
    """Each dependency by name. The LLM is shown but does not count: jobs are accepted while it is away."""
    checks = {
        "store": _try("store", asyncio.to_thread(services.store.head, layout.active_prefix() + "probe"), services),
        "redis": _try("redis", asyncio.to_thread(services.redis.ping), services),
        "llm": _try("llm", services.generator.probe(), services),
    }
    found = dict(zip(checks, await asyncio.gather(*checks.values()), strict=True))
    ready = found["store"].ok and found["redis"].ok
    response.status_code = 200 if ready else 503
    return Readiness(ready=ready, dependencies=found)


@router.get("/metrics", summary="Metrics for Prometheus", response_class=PlainTextResponse)
def metrics(services: Services) -> Response:
    """Prometheus' exposition format."""
    return PlainTextResponse(services.metrics.text(), media_type="text/plain; version=0.0.4")


async def _try(part: str, probe: Awaitable[object], services: ApiServices) -> Dependency:
    try:
        await asyncio.wait_for(probe, _PROBE_SECONDS)
    except (StoreError, RedisError, GeneratorAway) as error:
        refuses = isinstance(error, AuthenticationError | ResponseError)
        return Dependency(ok=False, detail=services.outages.away(part, error, refuses=refuses))
    except TimeoutError:
        return Dependency(ok=False, detail=f"no answer within {_PROBE_SECONDS:.0f} s")
    services.outages.well(part)
    return Dependency(ok=True)
