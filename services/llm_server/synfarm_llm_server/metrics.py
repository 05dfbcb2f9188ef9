"""Prometheus figures under the names that Text Generation Inference's dashboards use."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from synfarm_llm_server.engine.loop import Engine

__all__ = ["LlmMetrics"]

_TOKENS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)
_FAILURES = ("validation", "overloaded", "unhealthy", "generation")
_SECONDS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)


class _EngineFigures(Collector):
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def collect(self) -> Iterable[Metric]:
        engine = self._engine
        yield GaugeMetricFamily("tgi_batch_current_size", "Rows that share passes now", engine.running)
        yield GaugeMetricFamily("tgi_queue_size", "Requests that wait for a row", engine.waiting)
        yield CounterMetricFamily("llm_forward_passes", "Forward passes", engine.passes)
        yield CounterMetricFamily("llm_prefix_hit_tokens", "Prompt tokens not read again", engine.prefix_hit_tokens)


class LlmMetrics:
    """The figures of one process, in their own registry."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._count = Counter("tgi_request_count", "Requests ended, however", registry=registry)
        self._success = Counter("tgi_request_success", "Requests answered", registry=registry)
        self._failure = Counter("tgi_request_failure", "Requests refused or failed", ["err"], registry=registry)
        for kind in _FAILURES:
            self._failure.labels(kind)  # a rate needs a zero to begin at
        self._duration = Histogram(
            "tgi_request_duration", "Time of an answered request", buckets=_SECONDS, registry=registry
        )
        self._input = Histogram(
            "tgi_request_input_length", "Prompt tokens of a request", buckets=_TOKENS, registry=registry
        )
        self._generated = Histogram(
            "tgi_request_generated_tokens", "Generated tokens of a request", buckets=_TOKENS, registry=registry
        )

    def watch(self, engine: Engine) -> None:
        self.registry.register(_EngineFigures(engine))

    def finished(self, seconds: float, prompt_tokens: int, generated: int) -> None:
        self._count.inc()
        self._success.inc()
        self._duration.observe(seconds)
        self._input.observe(prompt_tokens)
        self._generated.observe(generated)

    def failed(self, kind: str) -> None:
        self._count.inc()
        self._failure.labels(kind).inc()

    def page(self) -> bytes:
        return generate_latest(self.registry)
