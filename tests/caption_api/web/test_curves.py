"""Curves of long runs: bounded points, bounded memory, read once, and right again after a restart."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synfarm_caption_api.web.curves import Column, Columns, CurveBook, thin
from synfarm_caption_api.web.trainer import MetricsChunk


class Source:
    """A trainer's steps, counting how many it had to send."""

    def __init__(self, steps: list[Any]) -> None:
        self.steps, self.sent = steps, 0

    async def metrics(self, authorization: str | None, run: str, since: int, limit: int) -> MetricsChunk:
        items = tuple(step for step in self.steps if step.step > since)[:limit]
        self.sent += len(items)
        return MetricsChunk(items=items, next_since=items[-1].step if items else since)


def column(values: list[float]) -> Column:
    made = Column()
    for value in values:
        made.append(value)
    return made


@pytest.fixture
def view() -> Any:
    class View:
        run, attempt, resumed_step = "01k" + "1" * 23, 0, None

    return View()


def test_a_long_line_becomes_few_points_and_keeps_its_spike() -> None:
    steps = range(1, 100_001)
    values = [math.sin(step / 500) for step in steps]
    values[54_321] = 9.0
    points = thin(steps, column(values), 400)
    assert 380 <= len(points) <= 400
    assert points[0] == (1, values[0], values[0], values[0])
    assert points[-1] == (100_000, values[-1], values[-1], values[-1]), "the newest step's own value, not a mean"
    assert max(point[3] for point in points) == 9.0
    assert min(point[2] for point in points) == min(values)


def test_few_steps_are_drawn_as_they_are() -> None:
    assert thin([1, 2, 5], column([3.0, math.nan, 4.0]), 10) == ((1, 3.0, 3.0, 3.0), (5, 4.0, 4.0, 4.0))


@given(st.lists(st.floats(-1e6, 1e6), max_size=300), st.integers(3, 50))
def test_points_lie_within_their_ranges_and_in_order(values: list[float], buckets: int) -> None:
    points = thin(range(len(values)), column(values), buckets)
    assert len(points) <= max(buckets, min(len(values), buckets))
    assert [point[0] for point in points] == sorted({point[0] for point in points})
    for _, mean, low, high in points:
        assert low - 1e-6 <= mean <= high + 1e-6


def test_columns_stay_bounded_and_aligned(make_step: Any) -> None:
    columns = Columns(most_rows=64)
    columns.extend(make_step(i, total=float(i)) for i in range(1, 51))
    columns.extend(make_step(i, total=float(i), late=1.0) for i in range(51, 1001))
    assert len(columns.steps) <= 64
    assert columns.last == 1000
    assert all(len(column) == len(columns.steps) for column in columns.values.values())
    late = next(curve for curve in columns.curves("losses", 1000) if curve.name == "late")
    assert late.points[0][0] > 50
    for step, mean, _, _ in columns.curves("losses", 1000)[0].points:
        assert step - 40 <= mean <= step, "a merged row tells the mean of the steps up to its own"


def test_a_spike_stays_as_high_as_it_was_however_long_the_run(make_step: Any) -> None:
    columns = Columns(most_rows=64)
    columns.extend(make_step(i, total=9.0 if i == 300 else 1.0) for i in range(1, 5001))
    (total,) = columns.curves("losses", 30)
    assert max(point[3] for point in total.points) == 9.0
    assert min(point[2] for point in total.points) == 1.0
    assert max(point[1] for point in total.points) < 2.0, "the line itself is the mean"


async def test_each_step_is_read_once_whoever_looks(make_step: Any, view: Any) -> None:
    source, book = Source([make_step(i) for i in range(1, 31)]), CurveBook(chunk=8)
    for _ in range(3):
        reading = await book.read(source, None, view, 100)
    assert (reading.step, reading.more, source.sent) == (30, False, 30)


async def test_a_long_run_is_read_in_turns(make_step: Any, view: Any) -> None:
    source, book = Source([make_step(i) for i in range(1, 31)]), CurveBook(chunk=8, reading_seconds=0)
    readings = [await book.read(source, None, view, 100) for _ in range(4)]
    assert [reading.more for reading in readings] == [True, True, True, False]
    assert [reading.step for reading in readings] == [8, 16, 24, 30]


async def test_a_restart_takes_back_what_it_does_again(make_step: Any, view: Any) -> None:
    source, book = Source([make_step(i, total=1.0) for i in range(1, 31)]), CurveBook()
    await book.read(source, None, view, 100)
    source.steps = source.steps[:20] + [make_step(i, total=2.0) for i in range(21, 26)]
    view.attempt, view.resumed_step = 1, 20
    reading = await book.read(source, None, view, 100)
    points = reading.panels["losses"][0].points
    assert [point[0] for point in points] == list(range(1, 26))
    assert [point[1] for point in points[18:22]] == [1.0, 1.0, 2.0, 2.0]
    # Two starts later nobody knows how far back the one between them went.
    source.steps = [make_step(i, total=3.0) for i in range(1, 28)]
    view.attempt, view.resumed_step = 3, 25
    reading = await book.read(source, None, view, 100)
    assert {point[1] for point in reading.panels["losses"][0].points} == {3.0}


async def test_only_the_runs_looked_at_last_are_kept(make_step: Any, view: Any) -> None:
    source, book = Source([make_step(1)]), CurveBook(runs=2)
    for name in ("a", "b", "c", "a"):
        view.run = name
        await book.read(source, None, view, 100)
    assert source.sent == 4
