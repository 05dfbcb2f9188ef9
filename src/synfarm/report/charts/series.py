"""Curves before they are drawn: gaps where a value is no number, smoothing, and few points however long the run."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["Series", "runs_of_numbers", "smoothed", "thinned", "window_for"]


@dataclass(frozen=True, slots=True)
class Series:
    """A named curve: ``ys[i]`` at ``xs[i]``; ``xs`` rises; a ``y`` may be NaN or infinite and is then a gap."""

    name: str
    xs: tuple[float, ...]
    ys: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.xs) != len(self.ys):
            raise ValueError(f"series {self.name!r} has {len(self.xs)} places and {len(self.ys)} values")

    def __len__(self) -> int:
        return len(self.xs)


def smoothed(series: Series, window: int) -> Series:
    """Each value replaced by the mean of the numbers at most ``window // 2`` places away; gaps stay gaps.

    The windows of the first and last values are cut off at the ends.
    """
    sums, counts = [0.0], [0]
    for y in series.ys:
        sums.append(sums[-1] + (y if math.isfinite(y) else 0.0))
        counts.append(counts[-1] + math.isfinite(y))
    half, ys = window // 2, []
    for i, y in enumerate(series.ys):
        first, last = max(0, i - half), min(len(series), i + half + 1)
        seen = counts[last] - counts[first]
        ys.append((sums[last] - sums[first]) / seen if math.isfinite(y) and seen else math.nan)
    return Series(series.name, series.xs, tuple(ys))


def thinned(series: Series, buckets: int) -> Series:
    """At most ``2 * buckets`` points: of each run of neighbours the lowest and the highest, so that no spike is lost.

    A bucket without a number keeps one gap.
    """
    if len(series) <= 2 * buckets:
        return series
    kept: list[int] = []
    for bucket in range(buckets):
        members = range(bucket * len(series) // buckets, (bucket + 1) * len(series) // buckets)
        numbers = [i for i in members if math.isfinite(series.ys[i])]
        if numbers:
            kept += sorted({min(numbers, key=series.ys.__getitem__), max(numbers, key=series.ys.__getitem__)})
        else:
            kept.append(members[0])
    return Series(series.name, tuple(series.xs[i] for i in kept), tuple(series.ys[i] for i in kept))


def runs_of_numbers(series: Series) -> list[list[tuple[float, float]]]:
    """The curve as unbroken pieces: it is interrupted wherever a value is no number."""
    pieces: list[list[tuple[float, float]]] = [[]]
    for x, y in zip(series.xs, series.ys, strict=True):
        if math.isfinite(y):
            pieces[-1].append((x, y))
        elif pieces[-1]:
            pieces.append([])
    return [piece for piece in pieces if piece]


def window_for(series: Series) -> int:
    """A smoothing window of about a twentieth of the curve, odd, and none for a curve of a few points."""
    return max(1, len(series) // 20) | 1
