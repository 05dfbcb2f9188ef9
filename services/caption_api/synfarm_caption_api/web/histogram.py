"""Lengths as bars: where each bar of a histogram stands, in shares of a chart that is as wide as its page allows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Bar", "Histogram", "Tick", "histogram"]

_MOST_BARS = 40
_ROWS, _COLUMNS = 3, 7
"""Ticks at most, along each axis."""
_GAP = 0.16
"""Of a bar's place, left empty."""


@dataclass(frozen=True, slots=True)
class Bar:
    """Lengths ``low`` to ``high``; ``x`` and ``width`` are percent of the chart's width, ``tall`` of its height."""

    low: int
    high: int
    count: int
    x: float
    width: float
    tall: float

    @property
    def lengths(self) -> str:
        return str(self.low) if self.low == self.high else f"{self.low} to {self.high}"


@dataclass(frozen=True, slots=True)
class Tick:
    """A number beside an axis, and its place in percent."""

    value: int
    at: float


@dataclass(frozen=True, slots=True)
class Histogram:
    """Bars from the least length to the greatest without a gap, and the ticks of both axes."""

    bars: tuple[Bar, ...]
    columns: tuple[Tick, ...]
    rows: tuple[Tick, ...]


def histogram(counts: Mapping[int, int]) -> Histogram:
    """Bars of equal width over ``counts`` (how many by length); neighbours are joined beyond 40 bars.

    Raises:
        ValueError: there is nothing to draw.
    """
    least, greatest = min(counts), max(counts)
    span = -(-(greatest - least + 1) // _MOST_BARS)
    least -= least % span
    lows = range(least, greatest + 1, span)
    totals = [sum(counts.get(length, 0) for length in range(low, low + span)) for low in lows]
    step = _step(max(totals), _ROWS)
    top = -(-max(totals) // step) * step
    place = 100 / len(totals)
    bars = tuple(
        Bar(
            low,
            low + span - 1,
            total,
            x=round((i + _GAP / 2) * place, 3),
            width=round((1 - _GAP) * place, 3),
            tall=round(100 * total / top, 2),
        )
        for i, (low, total) in enumerate(zip(lows, totals, strict=True))
    )
    # In whole bars, so that each number is the first length of the bar above it.
    apart = -(-_step(greatest - least + 1, _COLUMNS) // span) * span
    columns = tuple(Tick(low, round((i + 0.5) * place, 3)) for i, low in enumerate(lows) if low % apart == 0)
    rows = tuple(Tick(value, round(100 * value / top, 2)) for value in range(0, top + 1, step))
    return Histogram(bars, columns, rows)


def _step(greatest: int, ticks: int) -> int:
    """The least of 1, 2, 5, 10, 20 … that goes into ``greatest`` at most ``ticks`` times."""
    size = 1
    while True:
        for factor in (1, 2, 5):
            if greatest <= factor * size * ticks:
                return factor * size
        size *= 10
