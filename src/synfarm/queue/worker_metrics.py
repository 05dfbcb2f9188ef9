"""What every worker on the queue tells Prometheus: its units by outcome and time, whether it gets on, its device."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from synfarm.queue.presence import Presence
from synfarm.queue.unit import Outcome

__all__ = ["DeviceTime", "UnitMetrics", "WorkerCollector"]

_UNIT_SECONDS = (0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0, 1280.0)


class UnitMetrics:
    """Units of one stage, whose name begins the metrics': ``synfarm_caption_`` or ``synfarm_render_``."""

    def __init__(self, prefix: str, registry: CollectorRegistry) -> None:
        self._units = Counter(f"{prefix}units", "Units left, by how.", ["outcome"], registry=registry)
        for outcome in Outcome:
            self._units.labels(outcome=outcome.value)  # a rate needs a zero to begin at
        self._seconds = Histogram(
            f"{prefix}unit_seconds",
            "From a unit's message to its end, of units that were done.",
            buckets=_UNIT_SECONDS,
            registry=registry,
        )

    def left(self, outcome: Outcome, seconds: float) -> None:
        """A unit ended, so long after its message came."""
        self._units.labels(outcome=outcome.value).inc()
        if outcome is Outcome.DONE:
            self._seconds.observe(seconds)


class DeviceTime:
    """Seconds for which a process has held a device, by the kind that it was at each look; thread-safe."""

    def __init__(self, kind: Callable[[], str], clock: Callable[[], float] = time.monotonic) -> None:
        """``kind``: ``gpu`` or ``cpu``."""
        self._kind, self._clock, self._lock = kind, clock, threading.Lock()
        self._at = clock()
        self._seconds = {"cpu": 0.0, "gpu": 0.0}

    def seconds(self) -> dict[str, float]:
        """Until now."""
        with self._lock:
            now = self._clock()
            self._seconds[self._kind()] += now - self._at
            self._at = now
            return dict(self._seconds)


class WorkerCollector(Collector):
    """Asks the presence at each scrape."""

    def __init__(self, presence: Presence) -> None:
        self._presence = presence
        self._device = DeviceTime(lambda: "gpu" if presence.info().gpu else "cpu")

    def collect(self) -> Iterator[Metric]:
        info, name = self._presence.info(), "synfarm_worker_"
        yield GaugeMetricFamily(f"{name}units", "Units in work or finishing.", len(info.units))
        yield GaugeMetricFamily(f"{name}slots", "Units that it works on at a time.", info.slots)
        age = info.progress_age_seconds or 0.0
        yield GaugeMetricFamily(f"{name}progress_age_seconds", "Since the last progress of the most silent unit.", age)
        yield GaugeMetricFamily(f"{name}hung", "1 where no unit has got on for too long.", self._presence.hangs())
        yield GaugeMetricFamily(f"{name}draining", "1 from the request to stop.", info.draining)
        loading = info.loading is not None
        yield GaugeMetricFamily(f"{name}loading", "1 while a model is loaded.", loading and info.trouble is None)
        yield GaugeMetricFamily(
            f"{name}load_failing", "1 where the last load of a model failed.", info.trouble is not None
        )
        if info.kind == "render":  # what a caption worker costs is its language model's
            held = CounterMetricFamily("synfarm_device_seconds", "Seconds that devices were held.", labels=["device"])
            for kind, seconds in self._device.seconds().items():
                held.add_metric([kind], seconds)
            yield held
