"""Dot-and-whisker charts: values with their standard errors on one axis, to be compared by eye."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from synfarm.report.charts.scales import axis
from synfarm.report.charts.svg import add, figure, to_markup

__all__ = ["Dot", "dot_chart"]

WIDTH, ROW = 400.0, 28.0
LEFT, RIGHT, TOP, BOTTOM = 122.0, 72.0, 8.0, 38.0


@dataclass(frozen=True, slots=True)
class Dot:
    """One row: a value and, if it was estimated, its standard error."""

    label: str
    value: float
    error: float | None = None
    kind: str = "floor"
    """A class: ``network`` for what was trained or not, ``floor`` for what it is compared with."""

    @property
    def text(self) -> str:
        """``15.4 ± 2.4``."""
        if not math.isfinite(self.value):
            return "no number"
        return f"{self.value:.1f}" + (f" ± {self.error:.1f}" if self._has_error else "")

    @property
    def whisker(self) -> tuple[float, float] | None:
        """From one standard error below to one above."""
        return (self.value - (self.error or 0), self.value + (self.error or 0)) if self._has_error else None

    @property
    def _has_error(self) -> bool:
        return self.error is not None and math.isfinite(self.error) and math.isfinite(self.value)


def dot_chart(
    key: str, dots: Sequence[Dot], *, title: str, description: str, x_label: str, mark: float | None = None
) -> Markup:
    """One row a dot; the axis begins at zero.

    Args:
        key: unique in the page.
        mark: where a line runs through all rows, so that they can be compared with one of them.
    """
    height = TOP + ROW * max(1, len(dots)) + BOTTOM
    root = figure(key, WIDTH, height, title=title, description=description)
    ends = [end for dot in dots for end in (dot.whisker or (dot.value,))]
    x_axis = axis(ends, zero=True)
    x, bottom = x_axis.scale(LEFT, WIDTH - RIGHT), height - BOTTOM
    for tick, label in zip(x_axis.ticks, x_axis.labels, strict=True):
        add(root, "line", x1=x(tick), x2=x(tick), y1=TOP, y2=bottom, class_="grid")
        add(root, "text", label, x=x(tick), y=bottom + 15, class_="tick", text_anchor="middle")
    add(root, "text", x_label, x=WIDTH - RIGHT, y=height - 6, class_="label", text_anchor="end")
    if mark is not None and math.isfinite(mark):
        add(root, "line", x1=x(mark), x2=x(mark), y1=TOP, y2=bottom, class_="mark")
    for row, dot in enumerate(dots):
        middle = TOP + ROW * (row + 0.5)
        add(root, "text", dot.label, x=LEFT - 12, y=middle + 4, class_=f"name {dot.kind}", text_anchor="end")
        add(root, "text", dot.text, x=WIDTH, y=middle + 4, class_="value", text_anchor="end")
        if not math.isfinite(dot.value):
            continue
        if dot.whisker is not None:
            low, high = (x(end) for end in dot.whisker)
            add(root, "line", x1=low, x2=high, y1=middle, y2=middle, class_=f"whisker {dot.kind}")
            for end in (low, high):
                add(root, "line", x1=end, x2=end, y1=middle - 4, y2=middle + 4, class_=f"whisker {dot.kind}")
        add(root, "circle", cx=x(dot.value), cy=middle, r=4.5, class_=f"dot {dot.kind}")
    return to_markup(root)
