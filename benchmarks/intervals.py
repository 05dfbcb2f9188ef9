"""Medians with the intervals that benchmarks print, and the slope of a line through what they measured."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

__all__ = ["interval", "slope"]


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Median, and the order statistics that hold the true one with a probability of at least 95 %."""
    ordered, n = sorted(values), len(values)
    outside, low = 0.0, 0
    while low < n // 2 and outside + math.comb(n, low) / 2**n <= 0.025:
        outside += math.comb(n, low) / 2**n
        low += 1
    low = max(1, low)
    return statistics.median(ordered), ordered[low - 1], ordered[n - low]


def slope(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """Of the line of least squares, and two of its standard errors.

    Raises:
        ValueError: fewer than three points.
    """
    if len(x) < 3:
        raise ValueError(f"a slope with an error needs three points, got {len(x)}")
    middle, level = statistics.fmean(x), statistics.fmean(y)
    spread = sum((a - middle) ** 2 for a in x)
    found = sum((a - middle) * (b - level) for a, b in zip(x, y, strict=True)) / spread
    rest = sum((b - level - found * (a - middle)) ** 2 for a, b in zip(x, y, strict=True))
    return found, 2 * math.sqrt(rest / (len(x) - 2) / spread)
