"""What the render worker counts and measures, for ``/metrics``."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from synfarm.queue.worker_metrics import UnitMetrics
from synfarm_render_worker.device_clock import DeviceClock
from synfarm_render_worker.renderer import Spent

__all__ = ["RenderMetrics"]

_PREFIX = "synfarm_render_"


class RenderMetrics:
    """One registry a process; seconds and bytes.

    What is a rate is told by counters, so that it can be read over any time: images a second is
    ``rate(synfarm_render_images_total)``, milliseconds a denoising step
    ``1000 * rate(…denoise_seconds_total) / rate(…denoise_steps_total)``, bytes a second of the uploads
    ``rate(…uploaded_bytes_total) / rate(…upload_seconds_sum)``.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.images = self._counter("images", "Images drawn.")
        self.units = UnitMetrics(_PREFIX, self.registry)
        self.uploaded = self._counter("uploaded_bytes", "Bytes of shards uploaded.")
        self.lost_commits = self._counter("lost_commits", "Units that another worker committed first.")
        self.render_seconds = Histogram(f"{_PREFIX}batch_seconds", "Time to draw one batch.", registry=self.registry)
        self.encode_seconds = Histogram(
            f"{_PREFIX}encode_seconds",
            "Time to check and encode one image.",
            buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5),
            registry=self.registry,
        )
        self.upload_seconds = Histogram(f"{_PREFIX}upload_seconds", "Time to upload one shard.", registry=self.registry)
        self.batch = Gauge(f"{_PREFIX}batch_images", "Images in the last batch.", registry=self.registry)
        self.halvings = self._counter("batch_halvings", "Batches halved because memory did not suffice.")
        self.loads = self._counter("model_loads", "Models loaded.")
        self.load_seconds = self._counter("model_load_seconds", "Time to load them.")
        self.truncated = self._counter("truncated_captions", "Captions longer than what the text encoder reads.")
        self._model_images = self._counter("model_images", "Images that a model drew.")
        self._steps = self._counter("denoise_steps", "Denoising steps, each of a whole batch.")
        self._denoise = self._counter("denoise_seconds", "Device time in denoising steps.")
        self._decode = self._counter("vae_seconds", "Device time in decoding latents to pixels.")
        self._text = self._counter("text_seconds", "Device time in encoding captions.")
        self._prefetched = Counter(
            f"{_PREFIX}captions_read", "Captions objects, by whether they were there in time.", ["prefetched"],
            registry=self.registry,
        )  # fmt: skip

        for prefetched in ("yes", "no"):
            self._prefetched.labels(prefetched=prefetched)  # a rate needs a zero to begin at

    def _counter(self, name: str, what: str) -> Counter:
        return Counter(_PREFIX + name, what, registry=self.registry)

    def count(self, spent: Spent) -> None:
        """Add what a renderer's model did."""
        self._model_images.inc(spent.images)
        self._steps.inc(spent.steps)
        self._denoise.inc(spent.denoise)
        self._decode.inc(spent.decode)
        self._text.inc(spent.text)
        self.truncated.inc(spent.truncated)

    def count_load(self, seconds: float) -> None:
        """A model was loaded in so much time."""
        self.loads.inc()
        self.load_seconds.inc(seconds)

    def count_captions(self, *, prefetched: bool) -> None:
        """A unit's captions were read: from the cache, or from the store while the device waited."""
        self._prefetched.labels(prefetched="yes" if prefetched else "no").inc()

    def watch(self, device: DeviceClock, finishing: Callable[[], int]) -> None:
        """Show the device's two clocks, its idle share since the start, and the units that finish now."""
        self.registry.register(_DeviceSeconds(device))
        share = Gauge(
            f"{_PREFIX}device_idle_share",
            "1 - busy / wanted seconds of the device, since the start of the process.",
            registry=self.registry,
        )
        share.set_function(lambda: device.idle_share)
        units = Gauge(
            f"{_PREFIX}finishing_units", "Units drawn and not yet committed or let go.", registry=self.registry
        )
        units.set_function(lambda: float(finishing()))


class _DeviceSeconds(Collector):
    def __init__(self, device: DeviceClock) -> None:
        self._device = device

    def collect(self) -> Iterable[Metric]:
        wanted, busy = self._device.seconds()
        yield CounterMetricFamily(f"{_PREFIX}device_wanted_seconds", "Something was there to draw.", value=wanted)
        yield CounterMetricFamily(f"{_PREFIX}device_busy_seconds", "The renderer drew.", value=busy)
