"""``/healthz``, ``/readyz`` and ``/metrics``: for supervisors and monitors, without a key."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from synfarm.contracts import layout
from synfarm.contracts.runs import RunState
from synfarm.storage.protocol import ObjectStore, StoreError
from synfarm_trainer.api.runner import Runner

__all__ = ["operations_router"]


class _Runs(Collector):
    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def collect(self) -> Iterator[Metric]:
        states = Tally(snapshot.state for snapshot in self._runner.snapshots())
        runs = GaugeMetricFamily("synfarm_trainer_runs", "Runs that have not ended, by state.", labels=["state"])
        for state in RunState:
            if not state.is_final:
                runs.add_metric([state.value], states[state])
        yield runs
        restarts = CounterMetricFamily("synfarm_trainer_restarts", "Starts that ended without an end of their run.")
        restarts.add_metric([], self._runner.restarts)
        yield restarts
        busy = [s for s in self._runner.snapshots() if s.state is RunState.RUNNING]
        for name, words, value in (
            ("step", "Optimiser steps taken by the current run.", busy[0].step if busy else 0),
            ("images_per_second", "Of the current run.", (busy[0].images_per_second or 0.0) if busy else 0.0),
            ("data_wait_share", "Share of a step spent waiting.", (busy[0].data_wait_share or 0.0) if busy else 0.0),
        ):
            gauge = GaugeMetricFamily(f"synfarm_trainer_{name}", words)
            gauge.add_metric([], value)
            yield gauge
        age = GaugeMetricFamily("synfarm_trainer_runner_age_seconds", "Since the runner last showed life.")
        age.add_metric([], self._runner.age)
        yield age


def operations_router(store: ObjectStore, runner: Runner, health_age: float) -> APIRouter:
    """The three routes."""
    router = APIRouter(tags=["operations"])
    registry = CollectorRegistry()
    registry.register(_Runs(runner))

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
        except StoreError as error:
            answers["store"] = str(error)[:300]
        response.status_code = 200 if all(answer == "ok" for answer in answers.values()) else 503
        return answers

    @router.get("/metrics")
    def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return router
