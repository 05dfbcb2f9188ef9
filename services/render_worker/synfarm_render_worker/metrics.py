"""What the render worker counts and measures, for ``/metrics``."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

__all__ = ["RenderMetrics"]


class RenderMetrics:
    """One registry a process; seconds and bytes. Images per second is the rate of ``synfarm_render_images_total``."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.images = Counter("synfarm_render_images", "Images drawn.", registry=self.registry)
        self.units = Counter("synfarm_render_units", "Units left, by how.", ["outcome"], registry=self.registry)
        self.uploaded = Counter("synfarm_render_uploaded_bytes", "Bytes of shards uploaded.", registry=self.registry)
        self.lost_commits = Counter(
            "synfarm_render_lost_commits", "Units that another worker committed first.", registry=self.registry
        )
        self.render_seconds = Histogram(
            "synfarm_render_batch_seconds", "Time to draw one batch.", registry=self.registry
        )
        self.encode_seconds = Histogram(
            "synfarm_render_encode_seconds",
            "Time to check and encode one image.",
            buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5),
            registry=self.registry,
        )
        self.upload_seconds = Histogram(
            "synfarm_render_upload_seconds", "Time to upload one shard.", registry=self.registry
        )
