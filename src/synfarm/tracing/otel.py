"""Traces by OpenTelemetry. The trace of a job follows from its id, so that every process finds it without being told.

A message is only a hint: what it carries (``traceparent``, W3C Trace Context) makes a unit's rendering a child of its
captioning. Where it carries nothing, as when the feeder sends a unit again, the new span hangs on the job itself.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import cast

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from synfarm.contracts.renders import UnitTask
from synfarm.telemetry import get_logger
from synfarm.tracing import Tracing, UnitSpan

__all__ = ["OtelTracing", "job_context", "otlp"]

_log = get_logger(__name__)
_CLOSE_SECONDS = 3.0
_FAILED = {"fault", "dead", "environment", "lost"}
_W3C = TraceContextTextMapPropagator()


def otlp() -> SpanProcessor:
    """Sends spans in batches, to where OpenTelemetry's own ``OTEL_EXPORTER_OTLP_*`` say."""
    return BatchSpanProcessor(OTLPSpanExporter())


def job_context(job: str) -> SpanContext:
    """Trace and root span of a job: a pure function of its id."""
    digest = hashlib.sha256(f"trace:{job}".encode()).digest()
    trace_id, span_id = int.from_bytes(digest[:16], "big"), int.from_bytes(digest[16:24], "big")
    return SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))


class _Ids:
    """An ``IdGenerator``: chance, but for the root span of a job."""

    def __init__(self) -> None:
        self._chance: IdGenerator = RandomIdGenerator()
        self._wanted = threading.local()

    @contextmanager
    def of(self, wanted: SpanContext) -> Iterator[None]:
        self._wanted.context = wanted
        try:
            yield
        finally:
            self._wanted.context = None

    def generate_trace_id(self) -> int:
        wanted: SpanContext | None = getattr(self._wanted, "context", None)
        return int(self._chance.generate_trace_id()) if wanted is None else int(wanted.trace_id)

    def generate_span_id(self) -> int:
        wanted: SpanContext | None = getattr(self._wanted, "context", None)
        return int(self._chance.generate_span_id()) if wanted is None else int(wanted.span_id)

    def is_trace_id_random(self) -> bool:
        """A job's is a hash."""
        return False


class _OtelUnit(UnitSpan):
    def __init__(self, span: Span) -> None:
        self._span = span

    def ended(self, outcome: str) -> None:
        self._span.set_attribute("synfarm.outcome", outcome)
        if outcome in _FAILED:
            self._span.set_status(Status(StatusCode.ERROR, outcome))
        self._span.end()


class OtelTracing(Tracing):
    """One a process; registers nothing globally."""

    def __init__(self, process: str, processor: SpanProcessor) -> None:
        self._ids = _Ids()
        self._provider = TracerProvider(
            id_generator=cast(IdGenerator, self._ids),
            resource=Resource.create({SERVICE_NAME: f"synfarm-{process}"}),
            shutdown_on_exit=False,  # else an exit waits as long as a close without a bound
        )
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("synfarm")

    def job_made(self, job: str, began: float) -> None:
        with self._ids.of(job_context(job)):
            span = self._tracer.start_span(
                "job", Context(), SpanKind.SERVER, {"synfarm.job": job}, start_time=int(began * 1e9)
            )
        span.end()

    def carrier(self, job: str) -> dict[str, str]:
        carrier: dict[str, str] = {}
        here = trace.get_current_span()
        is_its_own = here.get_span_context().trace_id == job_context(job).trace_id
        _W3C.inject(carrier, trace.set_span_in_context(here) if is_its_own else _root(job))
        return carrier

    @contextmanager
    def unit(self, task: UnitTask, carrier: Mapping[str, str]) -> Iterator[UnitSpan]:
        root = job_context(task.job)
        cause = trace.get_current_span(_W3C.extract(carrier, Context())).get_span_context()
        if cause.trace_id != root.trace_id:
            cause = root
        span = self._tracer.start_span(
            f"{task.stage.value} unit",
            trace.set_span_in_context(NonRecordingSpan(cause), Context()),
            SpanKind.CONSUMER,
            {
                "synfarm.job": task.job,
                "synfarm.unit": task.unit,
                "messaging.destination.name": task.queue,
                "synfarm.sequence": task.sequence,
            },
            links=[] if cause.span_id == root.span_id else [Link(root)],
        )
        token = contexts.attach(trace.set_span_in_context(span))
        try:
            yield _OtelUnit(span)
        finally:
            contexts.detach(token)

    @contextmanager
    def part(self, name: str) -> Iterator[object]:
        with self._tracer.start_as_current_span(name) as span:
            yield span

    def close(self, within: float = float("inf")) -> None:
        # The SDK waits up to 30 s for what it sends, each batch up to OTEL_EXPORTER_OTLP_TIMEOUT, and takes no bound.
        sending = threading.Thread(target=self._provider.shutdown, name="spans", daemon=True)
        sending.start()
        sending.join(min(within, _CLOSE_SECONDS))
        if sending.is_alive():
            _log.warning("spans_dropped", next_step="see whether the collector at OTEL_EXPORTER_OTLP_ENDPOINT answers")


def _root(job: str) -> Context:
    return trace.set_span_in_context(NonRecordingSpan(job_context(job)), Context())
