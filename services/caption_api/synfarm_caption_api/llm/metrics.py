"""What Prometheus sees of each LLM server."""

from __future__ import annotations

from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from synfarm_caption_api.llm.breaker import BreakerState

__all__ = ["LlmMetrics", "ServerMetrics"]

Outcome = Literal["answered", "pushed_back", "failed", "timed_out", "refused"]

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0)


class LlmMetrics:
    """The collectors of one process, in the registry of its composition root."""

    def __init__(self, registry: CollectorRegistry) -> None:
        name, server = "synfarm_caption_llm_", ["server"]
        self.requests = Counter(
            f"{name}requests",
            "Requests ended, by how: answered, pushed_back (429: sent again later), failed, timed_out, refused.",
            [*server, "outcome"],
            registry=registry,
        )
        self.retries = Counter(f"{name}retries", "Requests sent again after a failure.", server, registry=registry)
        self.seconds = Histogram(
            f"{name}request_seconds", "Seconds of answered requests.", server, buckets=_SECONDS, registry=registry
        )
        self.tokens = Counter(f"{name}tokens", "Tokens of answers.", server, registry=registry)
        self.limit = Gauge(f"{name}limit", "Requests that may be in flight now.", server, registry=registry)
        self.in_flight = Gauge(f"{name}in_flight", "Requests in flight.", server, registry=registry)
        self.state = Gauge(
            f"{name}breaker_state", "1 for the state that the breaker is in.", [*server, "state"], registry=registry
        )
        self.openings = Counter(f"{name}breaker_opened", "Times that the breaker opened.", server, registry=registry)
        self.waiting = Gauge(f"{name}waiting", "Requests that wait for a place at any server.", registry=registry)

    def of(self, server: str) -> ServerMetrics:
        """Those of one server; label values are host and port, never a key."""
        return ServerMetrics(self, server)


class ServerMetrics:
    """Children of one server, looked up once: labels cost more than counting."""

    def __init__(self, metrics: LlmMetrics, server: str) -> None:
        outcomes: tuple[Outcome, ...] = ("answered", "pushed_back", "failed", "timed_out", "refused")
        self._outcomes = {outcome: metrics.requests.labels(server, outcome) for outcome in outcomes}
        self.retries = metrics.retries.labels(server)
        self.seconds = metrics.seconds.labels(server)
        self.tokens = metrics.tokens.labels(server)
        self.limit = metrics.limit.labels(server)
        self.in_flight = metrics.in_flight.labels(server)
        self.openings = metrics.openings.labels(server)
        self._states = {state: metrics.state.labels(server, state.value) for state in BreakerState}

    def ended(self, outcome: Outcome) -> None:
        """Count a request."""
        self._outcomes[outcome].inc()

    def entered(self, state: BreakerState) -> None:
        """Show the breaker's state."""
        for each, gauge in self._states.items():
            gauge.set(float(each is state))
