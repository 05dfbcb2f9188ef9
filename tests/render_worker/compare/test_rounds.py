"""Columns draw the same requests by turns; what is timed is drawing, and not what precedes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from synfarm.contracts.comparisons import Comparison, ComparisonPlan
from synfarm.contracts.render_settings import RenderSettings
from synfarm_render_worker.compare.comparing import compared
from synfarm_render_worker.compare.measures import Grey
from synfarm_render_worker.compare.rounds import Drawn, draw, requests_of
from synfarm_render_worker.renderer import FakeRenderer, ImageRequest, RenderedImage, Step, no_step
from synfarm_render_worker.scoring.scorer import FakeScorer

CAPTIONS = ("a dog", "two red cars", "an owl", "a fox", "a sled")


def plan(columns: dict[str, int], captions: Sequence[str] = CAPTIONS, images: int = 3) -> ComparisonPlan:
    """Columns by name, and their steps."""
    base: dict[str, Any] = {"renderer": "diffusers", "model": "m", "family": "compare", "size": 32}
    planned = [{"name": name, "render": {**base, "steps": steps}} for name, steps in columns.items()]
    return ComparisonPlan.model_validate({"captions": captions, "columns": planned, "images": images, "seed": 3})


class Clock:
    """Goes on when a renderer says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Timed:
    """Draws as the fake does, ``shift`` grey levels brighter, in steps x images seconds; the first time in 100 more."""

    def __init__(self, settings: RenderSettings, clock: Clock, log: list[tuple[int, list[ImageRequest]]]) -> None:
        self._fake, self._settings, self._clock, self._log = FakeRenderer(batch_hint=2), settings, clock, log
        self._cold = 100.0
        clock.now += 7

    def __getattr__(self, name: str) -> Any:
        return getattr(self._fake, name)

    def render(self, requests: Sequence[ImageRequest], step: Step = no_step) -> list[RenderedImage]:
        self._clock.now += self._settings.steps * len(requests) + self._cold
        self._cold = 0.0
        self._log.append((self._settings.steps, list(requests)))
        drawn = self._fake.render(requests)
        return [RenderedImage((image.pixels // 2 + self._settings.steps).astype(np.uint8)) for image in drawn]


def drawn(wanted: ComparisonPlan) -> tuple[list[Drawn], list[tuple[int, list[ImageRequest]]], list[str]]:
    clock, log, told = Clock(), list[tuple[int, list[ImageRequest]]](), list[str]()
    columns = draw(wanted, lambda render: Timed(render, clock, log), told.append, clock)  # type: ignore[arg-type, return-value]
    return columns, log, told


def test_columns_take_turns_with_the_same_requests() -> None:
    wanted = plan({"slow": 50, "half": 25, "fast": 10})
    columns, log, told = drawn(wanted)
    warm_up, rounds = log[:3], log[3:]
    assert [(steps, len(requests)) for steps, requests in warm_up] == [(50, 4), (25, 4), (10, 4)]
    firsts = [rounds[i][0] for i in range(0, len(rounds), 3)]
    assert firsts == [50, 25, 10, 50], "each is first in its turn"
    for steps in (50, 25, 10):
        asked = [request for own, requests in rounds if own == steps for request in requests]
        assert asked == requests_of(wanted)
    assert [drawn.counts for drawn in columns] == [[4, 4, 4, 3]] * 3
    assert told[-1].startswith("round 4 of 4: slow 0.02 img/s, half 0.04 img/s")


def test_loading_and_warming_up_are_timed_apart() -> None:
    columns, _, _ = drawn(plan({"slow": 50, "half": 25}))
    slow, half = columns
    assert (slow.load_seconds, half.load_seconds) == (7, 7)
    assert (slow.warm_up_seconds, half.warm_up_seconds) == (300, 200)
    assert (sum(slow.seconds), sum(half.seconds)) == (15 * 50, 15 * 25)


def numbers(wanted: ComparisonPlan) -> Comparison:
    columns, _, _ = drawn(wanted)
    return compared(wanted, columns, [Grey()], clip=FakeScorer(), notes=["n"])


def test_speed_is_told_beside_the_first_column() -> None:
    found = numbers(plan({"slow": 50, "half": 25}))
    assert [column.images_per_second for column in found.columns] == [1 / 50, 1 / 25]
    (contrast,) = found.contrasts
    assert (contrast.name, contrast.speed, contrast.speed_range) == ("half", 2.0, (2.0, 2.0))
    assert Comparison.from_bytes(found.to_bytes()) == found


def test_a_distance_is_that_of_the_same_caption_and_seed() -> None:
    """The second column's pictures are 25 grey levels darker, and else the same."""
    found = numbers(plan({"slow": 50, "half": 25}))
    (contrast,) = found.contrasts
    assert contrast.distances == {"grey": pytest.approx(25, abs=0.1)}
    light, dark = (column.scores["clip"] for column in found.columns)
    assert light - dark == pytest.approx(25 / 255, abs=1e-3)
    assert contrast.by_caption == {"grey": pytest.approx((25,) * 5, abs=0.1)}
    for column in found.columns:
        assert column.seeds["grey"] > 5
        assert column.captions["grey"] > 5


def test_the_same_settings_have_no_distance_and_one_caption_no_neighbour() -> None:
    found = numbers(plan({"one": 50, "other": 50}, captions=["a dog"]))
    assert found.contrasts[0].distances == {"grey": 0.0}
    assert found.columns[0].captions == {}
    assert numbers(plan({"one": 50, "other": 50}, captions=["a dog"] * 3)).columns[0].captions == {}
    assert found.columns[0].seeds["grey"] > 5
