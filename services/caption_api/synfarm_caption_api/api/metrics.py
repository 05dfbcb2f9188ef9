"""Metrics of the API in a registry of its own, so that two applications in one process do not meet."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from synfarm_caption_api.api.farm_metrics import FarmCollector
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
            self.registry.register(_FeederCollector(pulse))
            self.registry.register(FarmCollector(pulse.farm))

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self.registry)


class _FeederCollector(Collector):
    def __init__(self, pulse: FeederPulse) -> None:
        self._pulse = pulse

    def collect(self) -> Iterator[Metric]:
        name, pulse = "synfarm_feeder_", self._pulse
        yield GaugeMetricFamily(f"{name}pass_age_seconds", "Since the feeder's last whole pass.", pulse.age_seconds)
        yield GaugeMetricFamily(f"{name}leading", "1 where this replica's feeder leads.", float(pulse.leading))
        yield CounterMetricFamily(f"{name}passes", "Passes that went through, leading or not.", pulse.passes)
        yield CounterMetricFamily(f"{name}pass_seconds", "Time in those passes.", pulse.seconds)
        yield CounterMetricFamily(f"{name}failed_passes", "Passes that failed: Redis or the store.", pulse.failures)


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
