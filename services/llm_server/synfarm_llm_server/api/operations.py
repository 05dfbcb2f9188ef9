"""Routes for operators: ``/info``, ``/health``, ``/healthz``, ``/readyz``, ``/metrics``."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from synfarm_llm_server.api.errors import loading
from synfarm_llm_server.service import GenerationService
from synfarm_llm_server.settings import LlmSettings

__all__ = ["operation_routes"]


def operation_routes(service: GenerationService, settings: LlmSettings, version: str) -> APIRouter:
    """The routes; none of them needs a key."""
    router = APIRouter()

    @router.get("/info")
    async def info() -> dict[str, Any]:
        """The model and the limits."""
        model = service.model
        return {
            "model_id": model.model_id,
            "model_sha": model.sha,
            "model_dtype": str(model.dtype),
            "model_device_type": model.device.type,
            "model_pipeline_tag": "text-generation",
            "max_concurrent_requests": settings.max_concurrent_requests,
            "max_best_of": settings.max_best_of,
            "max_stop_sequences": settings.max_stop_sequences,
            "max_input_tokens": settings.max_input_tokens,
            "max_total_tokens": settings.max_total_tokens,
            "validation_workers": 1,
            "max_client_batch_size": 1,
            "max_batch_size": settings.max_batch_size,
            "router": "synfarm-llm-server",
            "version": version,
            "sha": None,
            "docker_label": None,
        }

    @router.get("/health")
    @router.get("/readyz")
    async def health() -> Response:
        """200 once the model is loaded, as long as its engine lives."""
        if not service.healthy:
            raise loading("Model is not loaded or its engine has failed")
        return Response()

    @router.get("/healthz")
    async def alive() -> dict[str, Any]:
        """The process answers."""
        return {"status": "ok", "model_loaded": service.healthy, "requests": service.admission.taken}

    @router.get("/metrics")
    async def metrics() -> Response:
        """Prometheus figures."""
        return Response(service.metrics.page(), media_type=CONTENT_TYPE_LATEST)

    return router
