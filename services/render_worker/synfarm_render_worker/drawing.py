"""Draws a unit's captions batch by batch, while threads check and encode the batch before."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from synfarm.contracts.captions import CaptionRecord
from synfarm.contracts.ids import caption_id
from synfarm.contracts.jobs import JobSpec
from synfarm.queue.lease import Interrupt, Lease, UnitInterrupted
from synfarm_render_worker.encoding import check, encode, resized
from synfarm_render_worker.metrics import RenderMetrics
from synfarm_render_worker.renderer import ImageRequest, RenderedImage, Renderer, image_seed

__all__ = ["DrawnUnit", "EncodedImage", "UnitDrawer"]


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """One image as it is stored."""

    seed: int
    data: bytes
    scene: dict[str, object] | None


@dataclass(frozen=True, slots=True)
class DrawnUnit:
    """The images of each caption with a text, in caption order; seconds spent."""

    images: tuple[tuple[EncodedImage, ...], ...]
    render_seconds: float
    encode_seconds: float
    """Summed over threads."""


class UnitDrawer:
    """One a process; holds the encoding threads."""

    def __init__(self, *, threads: int, batch: int | None, metrics: RenderMetrics) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="encode")
        self._batch, self._metrics = batch, metrics

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def draw(self, spec: JobSpec, records: Sequence[CaptionRecord], renderer: Renderer, lease: Lease) -> DrawnUnit:
        """All images of ``records``, each of which has a text.

        Raises:
            UnitFault: a caption cannot be drawn, or an image is bad; it names the caption and the image.
            UnitInterrupted: the unit must be let go, also when a stopping worker's grace period is too short for it.
        """
        plan = [
            (record, k, ImageRequest(record.text or "", image_seed(spec.seed, spec.job, record.index, k)))
            for record in records
            for k in range(spec.images_per_caption)
        ]
        size = self._batch or renderer.batch_hint
        waiting: list[Future[tuple[EncodedImage, float]]] = []
        images: list[EncodedImage] = []
        render_seconds = encode_seconds = 0.0
        for start in range(0, len(plan), size):
            lease.check()
            _leave_if_too_long(lease, done=start, total=len(plan), seconds=render_seconds)
            batch = plan[start : start + size]
            began = time.monotonic()
            drawn = renderer.render([request for _, _, request in batch])
            render_seconds += time.monotonic() - began
            self._metrics.render_seconds.observe(time.monotonic() - began)
            self._metrics.images.inc(len(drawn))
            # Only one batch of pixels waits for its encoding while the next is drawn.
            done = [future.result() for future in waiting]
            images += [image for image, _ in done]
            encode_seconds += sum(seconds for _, seconds in done)
            waiting = [
                self._pool.submit(self._encode, spec, record, k, request, image)
                for (record, k, request), image in zip(batch, drawn, strict=True)
            ]
            lease.progress()
        done = [future.result() for future in waiting]
        images += [image for image, _ in done]
        encode_seconds += sum(seconds for _, seconds in done)
        each = spec.images_per_caption
        groups = tuple(tuple(images[i : i + each]) for i in range(0, len(images), each))
        return DrawnUnit(groups, render_seconds, encode_seconds)

    def _encode(
        self, spec: JobSpec, record: CaptionRecord, k: int, request: ImageRequest, image: RenderedImage
    ) -> tuple[EncodedImage, float]:
        began = time.monotonic()
        drawn = spec.render.render_size or spec.render.size
        check(image.pixels, drawn, f"{caption_id(spec.job, record.index)} image {k}")
        data = encode(resized(image.pixels, spec.render.size), spec.render.image_format, spec.render.quality)
        seconds = time.monotonic() - began
        self._metrics.encode_seconds.observe(seconds)
        return EncodedImage(request.seed, data, None if image.scene is None else dict(image.scene)), seconds


def _leave_if_too_long(lease: Lease, *, done: int, total: int, seconds: float) -> None:
    """Of a stopping worker: hand the unit back now, if what is left takes longer than the grace period."""
    if done and seconds / done * (total - done) > lease.remaining:
        raise UnitInterrupted(Interrupt.DRAINING)
