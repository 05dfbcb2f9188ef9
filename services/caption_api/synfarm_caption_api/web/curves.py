"""A run's curves for drawing: read once from the trainer, kept in bounded columns, thinned to what a screen shows.

A chart a few hundred pixels wide cannot show 100,000 steps. Each bucket of steps becomes its mean and its range, so
that a spike stays visible however long the run is. Names of losses and monitors are whatever the run reports.
"""

from __future__ import annotations

import asyncio
import math
import time
from array import array
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from synfarm.contracts.runs import StepMetrics
from synfarm.contracts.views import RunView
from synfarm_caption_api.web.trainer import MetricsChunk

__all__ = ["Column", "Columns", "Curve", "CurveBook", "Point", "Reading", "thin"]

Point = tuple[int, float, float, float]
"""Last step of a bucket, mean, least and greatest value in it."""

_CHUNK = 2000
_MOST_ROWS = 16_384
_READING_SECONDS = 1.5


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of a chart."""

    name: str
    points: tuple[Point, ...]


class Column:
    """One quantity by row: its mean, least and greatest value in the row's steps; NaN where none reported it."""

    __slots__ = ("high", "low", "mean")

    def __init__(self, rows: int = 0) -> None:
        """``rows``: so many without a value."""
        self.mean, self.low, self.high = (array("d", [math.nan] * rows) for _ in range(3))

    def __len__(self) -> int:
        return len(self.mean)

    def append(self, value: float) -> None:
        self.mean.append(value)
        self.low.append(value)
        self.high.append(value)

    def cut(self, rows: int) -> None:
        for values in (self.mean, self.low, self.high):
            del values[rows:]

    def halve(self) -> None:
        """Merge each two rows; the last one stays alone where their number is odd."""
        self.mean = _merged(self.mean, _middle)
        # The range stays what it was: a spike is as high in a merged row as it was in its step.
        self.low, self.high = _merged(self.low, _least), _merged(self.high, _greatest)


class Columns:
    """Steps of a run as one column a quantity; beyond the limit neighbours are merged, so that memory stays bounded."""

    def __init__(self, *, most_rows: int = _MOST_ROWS) -> None:
        self._most = most_rows
        self.steps: array[int] = array("q")
        self.values: dict[tuple[str, str], Column] = {}
        """By (panel, name): ``("losses", "total")``."""

    @property
    def last(self) -> int:
        """The newest step, 0 before the first."""
        return self.steps[-1] if self.steps else 0

    def extend(self, items: Iterable[StepMetrics]) -> None:
        """Append steps after the newest one; others are left out."""
        for item in items:
            if item.step <= self.last and self.steps:
                continue
            self.steps.append(item.step)
            for key, value in _quantities(item):
                self._column(key).append(value)
            for column in self.values.values():
                if len(column) < len(self.steps):
                    column.append(math.nan)
        while len(self.steps) > self._most:
            self._halve()

    def cut(self, step: int) -> None:
        """Forget what comes after ``step``: a resumed run does it again."""
        keep = next((i for i, known in enumerate(self.steps) if known > step), len(self.steps))
        del self.steps[keep:]
        for column in self.values.values():
            column.cut(keep)

    def curves(self, panel: str, buckets: int) -> list[Curve]:
        """The lines of a panel, in the order in which the run first reported them."""
        return [
            Curve(name, thin(self.steps, column, buckets)) for (of, name), column in self.values.items() if of == panel
        ]

    def panels(self) -> list[str]:
        return list(dict.fromkeys(panel for panel, _ in self.values))

    def _column(self, key: tuple[str, str]) -> Column:
        if key not in self.values:
            self.values[key] = Column(len(self.steps) - 1)
        return self.values[key]

    def _halve(self) -> None:
        even = len(self.steps) // 2 * 2
        self.steps = array("q", [*self.steps[1:even:2], *self.steps[even:]])
        for column in self.values.values():
            column.halve()


def thin(steps: Sequence[int], column: Column, buckets: int) -> tuple[Point, ...]:
    """At most ``buckets`` points (3 or more) over equal spans of steps; each row its own point where they are few.

    The first and the last row always are: the chart begins where the run does, and the value beside it is the newest.
    """
    rows = zip(steps, column.mean, column.low, column.high, strict=True)
    found = [row for row in rows if row[1] == row[1]]
    if len(found) <= buckets:
        return tuple(found)
    between = buckets - 2
    first, span = found[1][0], max(1, found[-2][0] - found[1][0])
    points: list[Point] = [found[0]]
    bucket: list[Point] = []
    place = 0
    for row in found[1:-1]:
        now = min(between - 1, (row[0] - first) * between // span)
        if bucket and now != place:
            points.append(_point(bucket))
            bucket = []
        place = now
        bucket.append(row)
    return (*points, _point(bucket), found[-1])


def _point(bucket: Sequence[Point]) -> Point:
    _, means, lows, highs = zip(*bucket, strict=True)
    return bucket[-1][0], sum(means) / len(means), min(lows), max(highs)


def _merged(values: array[float], merge: Callable[[float, float], float]) -> array[float]:
    even = len(values) // 2 * 2
    return array("d", [*map(merge, values[:even:2], values[1:even:2]), *values[even:]])


def _middle(one: float, two: float) -> float:
    return two if one != one else one if two != two else (one + two) / 2


def _least(one: float, two: float) -> float:
    return two if two < one or one != one else one


def _greatest(one: float, two: float) -> float:
    return two if two > one or one != one else one


def _quantities(item: StepMetrics) -> Iterable[tuple[tuple[str, str], float]]:
    for name, value in item.losses.items():
        yield ("losses", name), value
    yield ("learning rate", "learning rate"), item.learning_rate
    yield ("images per second", "images per second"), item.images_per_second
    if item.mfu is not None:
        yield ("MFU", "share of the nominal peak"), item.mfu
    if item.seconds > 0:
        yield ("wait for data", "share of a step"), min(1.0, item.data_wait_seconds / item.seconds)
    for name, value in item.monitors.items():
        yield (name, name), value


class _Source(Protocol):
    async def metrics(self, authorization: str | None, run: str, since: int, limit: int) -> MetricsChunk: ...


@dataclass(frozen=True, slots=True)
class Reading:
    """What there is to draw of a run now."""

    step: int
    more: bool
    """Steps are left to be read: ask again at once."""
    panels: dict[str, list[Curve]]


@dataclass(slots=True)
class _Kept:
    columns: Columns = field(default_factory=Columns)
    attempt: int | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class CurveBook:
    """Columns of the runs that were looked at last: any number of viewers cost one read of each step."""

    def __init__(self, *, runs: int = 16, chunk: int = _CHUNK, reading_seconds: float = _READING_SECONDS) -> None:
        self._most, self._chunk, self._seconds = runs, chunk, reading_seconds
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    async def read(self, source: _Source, authorization: str | None, view: RunView, buckets: int) -> Reading:
        """The run's curves of at most ``buckets`` points each; reads on from the trainer for at most some seconds.

        The caller has shown by ``view`` that its visitor may see the run.

        Raises:
            ProblemError: the trainer does not answer.
        """
        kept = self._kept.setdefault(view.run, _Kept())
        self._kept.move_to_end(view.run)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
        async with kept.lock:
            if kept.attempt is not None and view.attempt != kept.attempt:
                # What one new start went back behind is known; after several nobody tells how far.
                followed = view.attempt == kept.attempt + 1
                kept.columns.cut((view.resumed_step or 0) if followed else 0)
            kept.attempt = view.attempt
            more = await self._read_on(source, authorization, view.run, kept.columns)
            panels = await asyncio.to_thread(_draw, kept.columns, buckets)
            return Reading(kept.columns.last, more, panels)

    async def _read_on(self, source: _Source, authorization: str | None, run: str, columns: Columns) -> bool:
        deadline = time.monotonic() + self._seconds
        while True:
            chunk = await source.metrics(authorization, run, columns.last, self._chunk)
            await asyncio.to_thread(columns.extend, chunk.items)
            if len(chunk.items) < self._chunk:
                return False
            if time.monotonic() > deadline:
                return True


def _draw(columns: Columns, buckets: int) -> dict[str, list[Curve]]:
    return {panel: columns.curves(panel, buckets) for panel in columns.panels()}
