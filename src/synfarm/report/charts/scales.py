"""From numbers to places: linear scales, ticks at round numbers, and how the ticks are written."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Axis", "LinearScale", "axis", "finite"]

_ROUND = (1.0, 2.0, 2.5, 5.0, 10.0)
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True, slots=True)
class LinearScale:
    """Maps ``[low, high]`` to ``[start, end]`` (which may run backwards, as SVG's y does)."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


@dataclass(frozen=True, slots=True)
class Axis:
    """A range with its ticks, and the power of ten that its labels leave out."""

    low: float
    high: float
    ticks: tuple[float, ...]
    labels: tuple[str, ...]
    exponent: int = 0

    @property
    def factor(self) -> str:
        """``×10⁻³``, or nothing."""
        return f"×10{str(self.exponent).translate(_SUPERSCRIPT)}" if self.exponent else ""

    def scale(self, start: float, end: float) -> LinearScale:
        return LinearScale(self.low, self.high, start, end)


def finite(values: Iterable[float]) -> list[float]:
    """Those that are numbers: a diverged loss is a gap in a curve, never an axis without end."""
    return [value for value in values if math.isfinite(value)]


def axis(values: Iterable[float], *, zero: bool = False, count: int = 4, snug: bool = False) -> Axis:
    """An axis over the finite values with about ``count`` steps between round numbers.

    Args:
        zero: the axis holds zero.
        snug: the range ends at the values and not at the next tick (for steps, which are no measurement).
    """
    found = finite(values) or [0.0, 1.0]
    low, high = min(found), max(found)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if not high > low:
        # One value has no spread: show it in the middle of a range of its own size.
        margin = abs(high) / 2 or 1.0
        low, high = (low - margin, high + margin) if not zero else (min(low, 0.0), max(high, 0.0) or 1.0)
    step = _round_step((high - low) / count)
    if not snug:
        low, high = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
    first = math.ceil(low / step - 1e-9)
    ticks = tuple(i * step for i in range(first, math.floor(high / step + 1e-9) + 1))
    exponent = _exponent(max(abs(low), abs(high)))
    return Axis(low, high, ticks, _labels(ticks, step, exponent), exponent)


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(r * power for r in _ROUND if r * power >= rough * (1 - 1e-9))


def _exponent(largest: float) -> int:
    """The power of ten that stands at the axis, a multiple of three, so that no label needs many zeros."""
    if largest == 0 or 0.01 <= largest < 1e5:
        return 0
    return 3 * math.floor(math.log10(largest) / 3)


def _labels(ticks: Iterable[float], step: float, exponent: int) -> tuple[str, ...]:
    small = step / 10.0**exponent
    decimals = max(0, -math.floor(math.log10(small) + 1e-9))
    if not math.isclose(small, round(small, decimals), rel_tol=1e-6):
        decimals += 1  # a step of 2.5 needs one more than its power of ten
    return tuple(f"{tick / 10.0**exponent + 0.0:,.{decimals}f}".replace("-", "−") for tick in ticks)
