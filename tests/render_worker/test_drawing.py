"""Drawing one unit in batches: what is seen after each step, what a stopping worker does, which images are refused."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from ulid import ULID

from synfarm.contracts.captions import CaptionRecord
from synfarm.contracts.ids import caption_id
from synfarm.contracts.jobs import Concept, JobSpec, RenderSettings
from synfarm.queue.lease import Interrupt, Lease, UnitInterrupted
from synfarm.queue.unit import UnitFault
from synfarm_render_worker import drawing
from synfarm_render_worker.drawing import EncodedImage, UnitDrawer
from synfarm_render_worker.encoding import BadImage, check_file, encode
from synfarm_render_worker.metrics import RenderMetrics
from synfarm_render_worker.renderer import FakeRenderer, ImageRequest, RenderedImage, Renderer, Spent, Step, no_step

JOB = "01jd00000000000000000000aa"
SPEC = JobSpec(
    job=JOB,
    owner="me",
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
    concepts=(Concept(name="dog"),),
    captions=3,
    captions_per_unit=3,
    images_per_caption=3,
    render=RenderSettings(size=32),
)
RECORDS = [
    CaptionRecord(
        caption_id=caption_id(JOB, i), index=i, concept="dog", text=f"{i} dogs", draws=1, llm_seed=0, llm_model="m"
    )
    for i in range(3)
]


class Bench:
    """A drawer and what it is given."""

    def __init__(self, *, renderer: Renderer | None = None, batch: int | None = None) -> None:
        self.renderer: Renderer = renderer or FakeRenderer()
        self.batch = batch

    def draw(self, *, lease: Lease | None = None, spec: JobSpec = SPEC) -> tuple[tuple[EncodedImage, ...], ...]:
        drawer = UnitDrawer(threads=2, batch=self.batch, metrics=RenderMetrics())
        try:
            return drawer.draw(spec, RECORDS, self.renderer, lease or Lease(str(ULID()).lower())).images()
        finally:
            drawer.close()


class Spoiled:
    """Gives one image that must not be stored."""

    name, model, revision, capability, batch_hint = "collage", None, None, "collage-s", 4
    versions: dict[str, str] = {}  # noqa: RUF012 - a fake's constant

    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels = pixels

    def render(self, requests: Sequence[ImageRequest], step: Step = no_step) -> list[RenderedImage]:
        good = FakeRenderer().render(requests)
        return [*good[:-1], RenderedImage(self.pixels)]

    def spent(self) -> Spent:
        return Spent()


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [
        (np.zeros((32, 32, 3), np.uint8), "image 0: the image is black"),
        (np.full((32, 32, 3), (200, 30, 30), np.uint8), "image 0: the image is flat"),
        (np.full((32, 32, 3), np.nan, np.float32), "image 0: the renderer gave float32"),
        (np.zeros((16, 16, 3), np.uint8), "image 0: the renderer gave uint8"),
    ],
)
def test_bad_images_are_unit_faults_with_a_reason(pixels: np.ndarray, reason: str) -> None:
    bench = Bench(renderer=Spoiled(pixels))
    with pytest.raises(UnitFault, match=f"{caption_id(JOB, 1)} {reason}"):
        bench.draw()


@pytest.mark.parametrize(("image_format", "reason"), [("jpg", "truncated"), ("webp", "truncated")])
def test_a_file_that_is_not_whole_is_a_unit_fault(
    monkeypatch: pytest.MonkeyPatch, image_format: str, reason: str
) -> None:
    monkeypatch.setattr(drawing, "encode", lambda *how: encode(*how)[:-2])
    bench = Bench()
    render = SPEC.render.model_copy(update={"image_format": image_format})
    with pytest.raises(UnitFault, match=f"{caption_id(JOB, 0)} image 0: the encoded image is {reason}"):
        bench.draw(spec=SPEC.model_copy(update={"render": render}))


@pytest.mark.parametrize("image_format", ["jpg", "webp"])
def test_each_file_is_decoded_before_it_is_stored(image_format: Any) -> None:
    pixels = FakeRenderer(size=64).render([ImageRequest("a dog", 1)])[0].pixels
    data = encode(pixels, image_format, 95)
    check_file(data, 64, image_format, "x")
    with pytest.raises(BadImage, match="x: the encoded image has 64 x 64 px, not 32 x 32"):
        check_file(data, 32, image_format, "x")
    hole = data[: len(data) // 2] + b"\xff\xd9" if image_format == "jpg" else data[:20] + bytes(len(data) - 20)
    with pytest.raises(BadImage, match="cannot be decoded"):
        check_file(hole, 64, image_format, "x")


def test_cancel_is_seen_after_each_step_of_a_batch() -> None:
    steps: list[int] = []
    told: list[int] = []

    class Stepping(Spoiled):
        def render(self, requests: Sequence[ImageRequest], step: Step = no_step) -> list[RenderedImage]:
            for number in range(50):
                steps.append(number)
                step()
            return FakeRenderer().render(requests)

    class Telling(Lease):
        def progress(self) -> None:
            told.append(1)
            super().progress()

    bench = Bench(renderer=Stepping(np.empty(0)))
    watch = lambda: Interrupt.CANCELLED if len(steps) == 3 else None  # noqa: E731
    with pytest.raises(UnitInterrupted, match="cancelled"):
        bench.draw(lease=Telling(str(ULID()).lower(), watch=watch, poll_seconds=0))
    assert (len(steps), len(told)) == (3, 3)


def test_cancel_is_seen_between_batches() -> None:
    drawn: list[int] = []

    class Counting(Spoiled):
        def render(self, requests: Sequence[ImageRequest], step: Step = no_step) -> list[RenderedImage]:
            drawn.append(len(requests))
            return FakeRenderer().render(requests)

    bench = Bench(renderer=Counting(np.empty(0)), batch=2)
    lease = Lease(str(ULID()).lower(), watch=lambda: Interrupt.CANCELLED if drawn else None, poll_seconds=0)
    with pytest.raises(UnitInterrupted, match="cancelled"):
        bench.draw(lease=lease)
    assert drawn == [2]


def test_progress_is_told_after_each_batch() -> None:
    told: list[int] = []

    class Telling(Lease):
        def progress(self) -> None:
            told.append(1)
            super().progress()

    Bench(batch=2).draw(lease=Telling(str(ULID()).lower()))
    assert len(told) >= 5  # 9 images in batches of two


def test_a_stopping_worker_finishes_what_fits_and_hands_back_what_does_not() -> None:
    class Slow(Spoiled):
        def render(self, requests: Sequence[ImageRequest], step: Step = no_step) -> list[RenderedImage]:
            clock.append(0.05)
            threading.Event().wait(0.05)
            return FakeRenderer().render(requests)

    clock: list[float] = []
    bench = Bench(renderer=Slow(np.empty(0)), batch=1)
    with pytest.raises(UnitInterrupted, match="draining"):
        bench.draw(lease=Lease(str(ULID()).lower(), remaining=lambda: 0.2))
    assert len(clock) == 1  # after the first image it knows that nine do not fit
    bench.draw(lease=Lease(str(ULID()).lower(), remaining=lambda: 60.0))
