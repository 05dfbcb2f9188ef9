"""Draws a unit's captions batch by batch, while threads check and encode the batch before."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from synfarm.contracts.captions import CaptionRecord
from synfarm.contracts.ids import caption_id
from synfarm.contracts.jobs import JobSpec
from synfarm.queue.lease import Interrupt, Lease, UnitInterrupted
from synfarm_render_worker.device_clock import DeviceClock
from synfarm_render_worker.encoding import check, check_file, encode, resized
from synfarm_render_worker.metrics import RenderMetrics
from synfarm_render_worker.renderer import ImageRequest, RenderedImage, Renderer, Spent, image_seed

__all__ = ["DrawnUnit", "EncodedImage", "UnitDrawer"]


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """One image as it is stored."""

    seed: int
    data: bytes
    scene: dict[str, object] | None
    seconds: float = 0.0
    """That its checks and its encoding took."""
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DrawnUnit:
    """A unit that needs the renderer no more; its last batch may still be in the encoding threads."""

    encoded: tuple[Future[EncodedImage], ...]
    """In order of captions, and of images within a caption."""
    images_per_caption: int
    batch: int
    """Images drawn at once, but for the last."""
    render_seconds: float
    spent: Spent
    size: int
    """Bytes: what is encoded, the pixels of the last batch, and room for the shard made of them."""

    def images(self) -> tuple[tuple[EncodedImage, ...], ...]:
        """The images of each caption, when the last one is encoded.

        Raises:
            UnitFault: an image is bad.
        """
        images, each = [future.result() for future in self.encoded], self.images_per_caption
        return tuple(tuple(images[i : i + each]) for i in range(0, len(images), each))


class UnitDrawer:
    """One a process; holds the encoding threads."""

    def __init__(
        self, *, threads: int, batch: int | None, metrics: RenderMetrics, device: DeviceClock | None = None
    ) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="encode")
        self._batch, self._metrics, self._device = batch, metrics, device or DeviceClock()

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
        encoded: list[Future[EncodedImage]] = []
        waiting: list[Future[EncodedImage]] = []
        render_seconds, stored, pixels = 0.0, 0, 0

        renderer.spent()  # of a unit that was let go
        for start in range(0, len(plan), size):
            lease.check()
            _leave_if_too_long(lease, done=start, total=len(plan), seconds=render_seconds)
            batch = plan[start : start + size]
            self._metrics.batch.set(len(batch))
            began = time.monotonic()
            with self._device.drawing():
                drawn = renderer.render([request for _, _, request in batch], lease.step)
            seconds = time.monotonic() - began
            render_seconds += seconds
            self._metrics.render_seconds.observe(seconds)
            self._metrics.images.inc(len(drawn))
            # Only one batch of pixels waits for its encoding while the next is drawn.
            stored += sum(len(future.result().data) for future in waiting)
            waiting = [
                self._pool.submit(self._encode, spec, record, k, request, image)
                for (record, k, request), image in zip(batch, drawn, strict=True)
            ]
            encoded += waiting
            pixels = sum(image.pixels.nbytes for image in drawn)
            lease.progress()
        spent = renderer.spent()
        self._metrics.count(spent)
        return DrawnUnit(
            tuple(encoded), spec.images_per_caption, size, render_seconds, spent, size=2 * stored + 2 * pixels
        )

    def _encode(
        self, spec: JobSpec, record: CaptionRecord, k: int, request: ImageRequest, image: RenderedImage
    ) -> EncodedImage:
        began = time.monotonic()
        render, label = spec.render, f"{caption_id(spec.job, record.index)} image {k}"
        check(image.pixels, render.render_size or render.size, label)
        data = encode(resized(image.pixels, render.size), render.image_format, render.quality)
        check_file(data, render.size, render.image_format, label)
        seconds = time.monotonic() - began
        self._metrics.encode_seconds.observe(seconds)
        scene = None if image.scene is None else dict(image.scene)
        return EncodedImage(request.seed, data, scene, seconds, image.scores)


def _leave_if_too_long(lease: Lease, *, done: int, total: int, seconds: float) -> None:
    """Of a stopping worker: hand the unit back now, if what is left takes longer than the grace period."""
    if done and seconds / done * (total - done) > lease.remaining:
        raise UnitInterrupted(Interrupt.DRAINING)
