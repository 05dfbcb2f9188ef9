"""Lines of a chart as Braille characters: two by four dots in each, so that a small terminal shows a curve."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

__all__ = ["Drawn", "draw"]

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Bits of a cell's dots, by row from the top and by column."""
_EMPTY = 0x2800

Line = Sequence[tuple[float, float]]
"""(x, y), x rising."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """Rows from the top; of each cell its character and the number of the line that is seen there, -1 for none."""

    rows: tuple[tuple[tuple[str, int], ...], ...]
    low: float
    high: float
    """What the lowest and the highest dot stand for: means of the points in a column of dots."""


def draw(lines: Sequence[Line], width: int, height: int) -> Drawn | None:
    """All lines over the same axes, in ``width`` x ``height`` characters; a later line covers an earlier one.

    None if no line has a point.
    """
    kept = [[(x, y) for x, y in line if math.isfinite(y)] for line in lines]
    points = [point for line in kept for point in line]
    if not points:
        return None
    left, right = min(x for x, _ in points), max(x for x, _ in points)
    columns, levels = 2 * width, 4 * height
    means = [_by_column(line, left, right, columns) for line in kept]
    values = [value for line in means for _, value in line]
    low, high = min(values), max(values)
    bits = [[0] * width for _ in range(height)]
    owner = [[-1] * width for _ in range(height)]

    def dot(column: int, level: int, number: int) -> None:
        row, inner = divmod(levels - 1 - level, 4)
        bits[row][column // 2] |= _DOTS[inner][column % 2]
        owner[row][column // 2] = number

    for number, line in enumerate(means):
        before: int | None = None
        for column, value in _joined(line):
            level = round((value - low) / (high - low) * (levels - 1)) if high > low else (levels - 1) // 2
            # The dots between two columns make a line of them.
            start = level if before is None else before + (level > before) - (level < before)
            for between in range(min(start, level), max(start, level) + 1):
                dot(column, between, number)
            before = level
    rows = (zip(codes, numbers, strict=True) for codes, numbers in zip(bits, owner, strict=True))
    return Drawn(tuple(tuple((chr(_EMPTY + code), number) for code, number in row) for row in rows), low, high)


def _joined(line: Sequence[tuple[int, float]]) -> Iterator[tuple[int, float]]:
    """Every column from the first to the last, straight between those that have a value."""
    for (column, value), (after, later) in pairwise(line):
        for place in range(column, after):
            yield place, value + (later - value) * (place - column) / (after - column)
    yield from line[-1:]


def _by_column(line: Line, left: float, right: float, columns: int) -> list[tuple[int, float]]:
    """The mean of the points in each column that has any."""
    sums: dict[int, tuple[float, int]] = {}
    for x, y in line:
        place = round((x - left) / (right - left) * (columns - 1)) if right > left else 0
        total, count = sums.get(place, (0.0, 0))
        sums[place] = total + y, count + 1
    return [(place, total / count) for place, (total, count) in sorted(sums.items())]
