"""``/healthz``, ``/readyz`` and ``/metrics``: for supervisors and monitors, without a key."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from synfarm.contracts import layout
from synfarm.outages import Outages
from synfarm.storage.protocol import ObjectStore, StoreError
from synfarm_trainer.api.gauges import RunGauges
from synfarm_trainer.api.runner import Runner

__all__ = ["operations_router"]


def operations_router(store: ObjectStore, runner: Runner, health_age: float) -> APIRouter:
    """The three routes."""
    router = APIRouter(tags=["operations"])
    registry, outages = CollectorRegistry(), Outages()
    registry.register(RunGauges(runner))

    @router.get("/healthz")
    def healthz(response: Response) -> dict[str, Any]:
        healthy = runner.is_alive and runner.age < health_age
        response.status_code = 200 if healthy else 503
        return {
            "status": "ok" if healthy else "failing",
            "runner_alive": runner.is_alive,
            "progress_age_seconds": round(runner.age, 3),
        }

    @router.get("/readyz")
    def readyz(response: Response) -> dict[str, str]:
        answers = {"store": "ok", "runner": "ok" if runner.is_alive and runner.is_ready else "starting"}
        try:
            next(iter(store.list(layout.runs_prefix(), limit=1)), None)
            outages.well("store")
        except StoreError as error:
            answers["store"] = outages.away("store", error)
        response.status_code = 200 if all(answer == "ok" for answer in answers.values()) else 503
        return answers

    @router.get("/metrics", response_class=PlainTextResponse)
    def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return router
