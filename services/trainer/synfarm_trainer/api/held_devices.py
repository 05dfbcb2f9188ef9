"""For how long runs have held devices: what training costs, whatever became of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from synfarm.contracts.runs import RunSpec
from synfarm_trainer.launch.devices import CLUSTER, DeviceSet, has_gpus

__all__ = ["HeldDevices", "kind_of"]

_NODES = Path("/dev")


class HeldDevices:
    """Seconds since the service started, by kind of device: ranks times the time of each run. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._past = {"cpu": 0.0, "gpu": 0.0}
        self._now: dict[str, tuple[str, int, float]] = {}

    @contextmanager
    def by(self, spec: RunSpec, devices: DeviceSet) -> Iterator[None]:
        """Around a run, with its restarts and evaluations."""
        with self._lock:
            self._now[spec.run] = (kind_of(spec, devices), spec.ranks, self._clock())
        try:
            yield
        finally:
            with self._lock:
                kind, ranks, since = self._now.pop(spec.run)
                self._past[kind] += ranks * (self._clock() - since)

    def seconds(self) -> dict[str, float]:
        """Until now."""
        with self._lock:
            now, sums = self._clock(), dict(self._past)
            for kind, ranks, since in self._now.values():
                sums[kind] += ranks * (now - since)
            return sums


def kind_of(spec: RunSpec, devices: DeviceSet) -> str:
    """``gpu`` or ``cpu``, as the ranks of a run find it."""
    config: Mapping[str, Any] = spec.config
    asked = str(config.get("execution", {}).get("device", "auto"))
    if devices.is_cpu or asked == "cpu":
        return "cpu"
    if devices.gpus or devices is CLUSTER or asked == "cuda":
        return "gpu"
    return "gpu" if has_gpus(_NODES) else "cpu"
