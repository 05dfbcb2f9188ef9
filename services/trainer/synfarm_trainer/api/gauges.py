"""What Prometheus reads of the trainer: its runs by state, and of every run that goes on here its numbers.

Runs that have ended are not told: their curves are in the store, and labels of ids would only ever grow.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from synfarm.contracts.base import utc_now
from synfarm.contracts.runs import RunState
from synfarm_trainer.api.held_devices import HeldDevices
from synfarm_trainer.api.live import Snapshot
from synfarm_trainer.top1 import newest_top1

__all__ = ["RunGauges"]

_PREFIX = "synfarm_trainer_"
_GONE_ON = {RunState.STARTING, RunState.RUNNING, RunState.STOPPING}
_NUMBERS: tuple[tuple[str, str, Callable[[Snapshot], float | None]], ...] = (
    ("step", "Optimiser steps taken.", lambda now: now.step),
    ("epoch", "Passes over the data.", lambda now: now.epoch),
    ("images_per_second", "Images a second over the last steps.", lambda now: now.images_per_second),
    ("seconds_per_step", "Time of a step, over the last steps.", lambda now: now.seconds_per_step),
    (
        "data_wait_share",
        "Share of the last steps spent waiting for data.",
        lambda now: now.data_wait_share,
    ),
    (
        "tflops_per_second",
        "1e12 operations a second of each rank, for what the method asks.",
        lambda now: now.tflops_per_second,
    ),
    ("mfu", "What the method asks, as a share of the device's nominal peak.", lambda now: now.mfu),
    (
        "mfu_achievable",
        "The same as a share of what large products reach on the device.",
        lambda now: now.mfu_achievable,
    ),
    ("refilled_samples", "Samples replaced because of damage at rest.", lambda now: now.refilled),
    ("attempt", "Number of the start, from 0.", lambda now: now.attempt),
    ("checkpoint_step", "Step of the last checkpoint.", lambda now: now.last_checkpoint),
    ("checkpoint_bytes", "Size of the last checkpoint.", lambda now: now.checkpoint.bytes if now.checkpoint else None),
    (
        "checkpoint_stall_seconds",
        "For which training stood still for the last checkpoint.",
        lambda now: _of_checkpoint(now, "stall_seconds"),
    ),
    (
        "checkpoint_upload_seconds",
        "Until the last checkpoint was in the store.",
        lambda now: _of_checkpoint(now, "upload_seconds"),
    ),
    ("warnings", "Monitors that tell a collapse.", lambda now: len(now.warnings)),
    ("progress_age_seconds", "Since the run last told anything.", lambda now: _age(now)),
)
"""Gauges of a run; what is None is left out."""


class _Watched(Protocol):
    """The runner, as far as it is told of."""

    restarts: int

    @property
    def held(self) -> HeldDevices: ...
    @property
    def age(self) -> float: ...
    def snapshots(self) -> Mapping[str, Snapshot]: ...


class RunGauges(Collector):
    """Asks the runner at each scrape; holds nothing itself."""

    def __init__(self, runner: _Watched) -> None:
        self._runner = runner

    def collect(self) -> Iterator[Metric]:
        known = self._runner.snapshots()
        states = Tally(now.state for now in known.values())
        runs = _gauge("runs", "Runs that have not ended, by state.", "state")
        for state in RunState:
            if not state.is_final:
                runs.add_metric([state.value], states[state])
        yield runs
        yield CounterMetricFamily(
            f"{_PREFIX}restarts", "Starts that ended without an end of their run.", value=self._runner.restarts
        )
        yield GaugeMetricFamily(
            f"{_PREFIX}runner_age_seconds", "Since the runner last showed life.", value=self._runner.age
        )
        held = CounterMetricFamily("synfarm_device_seconds", "Seconds that devices were held.", labels=["device"])
        for kind, seconds in self._runner.held.seconds().items():
            held.add_metric([kind], seconds)
        yield held
        yield from _of_runs({run: now for run, now in known.items() if now.state in _GONE_ON})


def _of_runs(runs: Mapping[str, Snapshot]) -> Iterator[Metric]:
    for name, words, read in _NUMBERS:
        gauge = _gauge(f"run_{name}", words, "run")
        for run, now in runs.items():
            if (value := read(now)) is not None:
                gauge.add_metric([run], value)
        yield gauge
    loss = _gauge("run_loss", "Terms of the loss and their weighted total, of the last step.", "run", "term")
    monitor = _gauge(
        "run_monitor", "Everything else that the last step told: collapse, caches, checkpoints.", "run", "monitor"
    )
    top1 = _gauge("run_eval_top1", "Accuracy of the newest evaluation of each name.", "run", "eval")
    seconds = _counter("run_step_seconds", "Time of steps by what it was spent on.", "run", "part")
    reading = _counter("run_reading", "Groups, requests, bytes and faults of reading, by name.", "run", "of")
    images = _counter("run_images", "Images trained on since this service follows the run.", "run")
    for run, now in runs.items():
        for term, value in now.losses.items():
            loss.add_metric([run, term], value)
        for name, value in now.monitors.items():
            monitor.add_metric([run, name], value)
        for name, value in newest_top1(now.evals).items():
            top1.add_metric([run, name], value)
        for part, value in now.seconds_by_part.items():
            seconds.add_metric([run, part], value)
        for name, value in now.reading.items():
            reading.add_metric([run, name], value)
        images.add_metric([run], now.images)
    yield from (loss, monitor, top1, seconds, reading, images)


def _gauge(name: str, words: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{_PREFIX}{name}", words, labels=labels)


def _counter(name: str, words: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"{_PREFIX}{name}", words, labels=labels)


def _of_checkpoint(now: Snapshot, field: str) -> float | None:
    value: float | None = getattr(now.checkpoint, field, None)
    return value


def _age(now: Snapshot) -> float:
    return max(0.0, (utc_now() - now.progress_at).total_seconds())
