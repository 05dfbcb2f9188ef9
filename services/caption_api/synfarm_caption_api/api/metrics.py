"""Metrics of the API in a registry of its own, so that two applications in one process do not meet."""

from __future__ import annotations

import time
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from synfarm_caption_api.feeder.run import FeederPulse

__all__ = ["ApiMetrics", "MeasureRequests"]


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class ApiMetrics:
    """What the process counts."""

    def __init__(self, pulse: FeederPulse | None = None) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "synfarm_http_requests", "Requests answered.", ["method", "route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "synfarm_http_request_seconds",
            "Seconds to the first byte of an answer.",
            ["method", "route"],
            registry=self.registry,
        )
        self.jobs = Counter("synfarm_jobs_submitted", "Jobs made by this replica.", registry=self.registry)
        if pulse is not None:
            age = Gauge(
                "synfarm_feeder_pass_age_seconds", "Since the feeder's last whole pass.", registry=self.registry
            )
            age.set_function(lambda: pulse.age_seconds)
            leading = Gauge("synfarm_feeder_leading", "1 where this replica's feeder leads.", registry=self.registry)
            leading.set_function(lambda: float(pulse.leading))

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self.registry)


class MeasureRequests:
    """ASGI middleware; labels are route templates, so that ids never become labels."""

    def __init__(self, app: Any, metrics: ApiMetrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begin = time.perf_counter()
        # A client may send any word as its method, and each new label is kept for ever.
        method = scope["method"] if scope["method"] in _METHODS else "other"

        async def measured(message: Any) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", "unmatched")
                self._metrics.requests.labels(method, route, message["status"]).inc()
                self._metrics.seconds.labels(method, route).observe(time.perf_counter() - begin)
            await send(message)

        await self._app(scope, receive, measured)
