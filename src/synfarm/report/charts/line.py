"""Line charts: one quantity over the steps of a run, as measured and smoothed."""

from __future__ import annotations

from markupsafe import Markup

from synfarm.report.charts.scales import Axis, LinearScale, axis
from synfarm.report.charts.series import Series, runs_of_numbers, smoothed, thinned, window_for
from synfarm.report.charts.svg import Element, add, figure, path, to_markup

__all__ = ["line_chart"]

WIDTH, HEIGHT = 340.0, 190.0
LEFT, RIGHT, TOP, BOTTOM = 42.0, 8.0, 24.0, 36.0
BUCKETS = 240
"""Two points each: more than the chart has pixels on most screens."""


def line_chart(
    key: str,
    series: Series,
    *,
    title: str,
    description: str,
    x_label: str,
    y_label: str,
    zero: bool = False,
    smooth: bool = True,
) -> Markup:
    """One curve with its axes. A value that is no number interrupts it; without any number it says so.

    Args:
        key: unique in the page.
        zero: the y axis begins at zero.
        smooth: draw the mean over a twentieth of the curve over the values as measured.
    """
    root = figure(key, WIDTH, HEIGHT, title=title, description=description)
    pieces = runs_of_numbers(series)
    x_axis = axis((x for piece in pieces for x, _ in piece), zero=True, snug=True)
    y_axis = axis((y for piece in pieces for _, y in piece), zero=zero)
    x, y = x_axis.scale(LEFT, WIDTH - RIGHT), y_axis.scale(HEIGHT - BOTTOM, TOP)
    _frame(root, x_axis, y_axis, x, y, x_label, f"{y_label}, {y_axis.factor}" if y_axis.factor else y_label)
    if not pieces:
        middle = ((LEFT + WIDTH - RIGHT) / 2, (TOP + HEIGHT - BOTTOM) / 2)
        add(root, "text", "no values", x=middle[0], y=middle[1], class_="none", text_anchor="middle")
        return to_markup(root)
    window = window_for(series) if smooth else 1
    _curve(root, thinned(series, BUCKETS), x, y, "raw" if window > 1 else "smooth")
    if window > 1:
        _curve(root, thinned(smoothed(series, window), BUCKETS), x, y, "smooth")
    return to_markup(root)


def _frame(
    root: Element, x_axis: Axis, y_axis: Axis, x: LinearScale, y: LinearScale, x_label: str, y_label: str
) -> None:
    for tick, label in zip(y_axis.ticks, y_axis.labels, strict=True):
        add(root, "line", x1=LEFT, x2=WIDTH - RIGHT, y1=y(tick), y2=y(tick), class_="grid")
        add(root, "text", label, x=LEFT - 6, y=y(tick) + 3.5, class_="tick", text_anchor="end")
    bottom = HEIGHT - BOTTOM
    add(root, "line", x1=LEFT, x2=WIDTH - RIGHT, y1=bottom, y2=bottom, class_="axis")
    for tick, label in zip(x_axis.ticks, x_axis.labels, strict=True):
        add(root, "line", x1=x(tick), x2=x(tick), y1=bottom, y2=bottom + 4, class_="axis")
        add(root, "text", label, x=x(tick), y=bottom + 15, class_="tick", text_anchor="middle")
    unit = f"{x_label}, {x_axis.factor}" if x_axis.factor else x_label
    add(root, "text", unit, x=WIDTH - RIGHT, y=HEIGHT - 4, class_="label", text_anchor="end")
    add(root, "text", y_label, x=0, y=12, class_="label")


def _curve(root: Element, series: Series, x: LinearScale, y: LinearScale, kind: str) -> None:
    for piece in runs_of_numbers(series):
        points = [(x(a), y(b)) for a, b in piece]
        if len(points) == 1:
            add(root, "circle", cx=points[0][0], cy=points[0][1], r=2.5, class_=f"dot {kind}")
        else:
            add(root, "path", d=path(points), class_=f"curve {kind}")
