"""A panel of a Grafana dashboard drawn without Grafana: curves with axes and legend, or one large number."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from synfarm.report.charts.scales import LinearScale, axis
from synfarm.report.charts.svg import add, figure, path, to_markup

COLUMN, LINE = 58.0, 30.0
"""Pixels of Grafana's grid: 24 columns, lines of 30 px."""
COLOURS = ("#3b82c4", "#e8833a", "#4c9f70", "#b04a7a", "#8a6fc9", "#c9a227", "#3aa6a0", "#d05353", "#7d8590", "#6b8e23")
POINTS = 150
LETTER = 6.4
"""Pixels of a letter of the axes, at most."""
MINUTES = (1, 2, 3, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440)
"""Between two ticks of time."""
LEGEND = 8
"""Names at most."""


@dataclass(frozen=True, slots=True)
class Line:
    """One series of a panel; times in seconds of Unix time."""

    name: str
    xs: Sequence[float]
    ys: Sequence[float]


@dataclass(frozen=True, slots=True)
class Window:
    """The time that is shown, in seconds of Unix time, and what happened at some moments of it."""

    begin: float
    end: float
    marks: tuple[tuple[float, str], ...] = ()

    @property
    def step(self) -> float:
        return max(1.0, (self.end - self.begin) / POINTS)

    @property
    def ticks(self) -> list[float]:
        """Whole minutes, about five."""
        apart = 60 * next((m for m in MINUTES if 60 * m * 5 >= self.end - self.begin), MINUTES[-1])
        first = math.ceil(self.begin / apart) * apart
        return [float(at) for at in range(first, math.floor(self.end) + 1, apart)]


def shown(value: float, unit: str) -> str:
    """A number as Grafana would write it, near enough."""
    if not math.isfinite(value):
        return "–"
    if value < 0:
        return "−" + shown(-value, unit)
    if unit == "percentunit":
        return f"{_digits(100 * value)} %"
    if unit == "percent":
        return f"{_digits(value)} %"
    if unit == "s":
        whole = ((36_000, 3600, "h"), (600, 60, "min"), (1, 1, "s"), (1e-3, 1e-3, "ms"), (0, 1e-6, "µs"))
        return "0 s" if value == 0 else next(f"{_digits(value / by)} {u}" for least, by, u in whole if value >= least)
    if unit in {"bytes", "Bps"}:
        powers = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1, "B"))
        by, name = next(((by, name) for by, name in powers if value >= by), powers[-1])
        return f"{_digits(value / by)} {name}{'/s' if unit == 'Bps' else ''}"
    if unit == "currencyUSD":
        return f"${value:,.2f}"
    words = {"reqps": " req/s", "h": " h", "none": ""}
    return _digits(value) + (unit.removeprefix("suffix:") if unit.startswith("suffix:") else words.get(unit, ""))


def _digits(value: float) -> str:
    """Three of them that count, never as a power of ten where the number is large."""
    return f"{value:,.0f}" if value >= 999.5 else f"{value:.3g}"


def chart(key: str, panel: dict[str, Any], lines: list[Line], window: Window) -> str:
    """A panel's curves with axes and legend."""
    width, height = panel["gridPos"]["w"] * COLUMN - 36, panel["gridPos"]["h"] * LINE - 78
    defaults = panel["fieldConfig"]["defaults"]
    stack = defaults["custom"]["stacking"]["mode"] == "normal"
    if stack:
        lines = sorted(lines, key=lambda line: line.name)
    tops = _stacked(lines) if stack else [dict(zip(line.xs, line.ys, strict=True)) for line in lines]
    values = [y for top in tops for y in top.values()]
    y_axis = axis([*values, *([defaults["max"]] if "max" in defaults else [])], zero=defaults.get("min") == 0, count=4)
    labels = [shown(tick, defaults["unit"]) for tick in y_axis.ticks]
    left = max(48.0, 14 + LETTER * max(map(len, labels)))
    x = LinearScale(window.begin, window.end, left, width - 6)
    y = y_axis.scale(height - 20, 8)
    root = figure(key, width, height, title=panel["title"], description=panel["description"])
    for tick, label in zip(y_axis.ticks, labels, strict=True):
        add(root, "line", x1=left, x2=width - 6, y1=y(tick), y2=y(tick), class_="grid")
        add(root, "text", label, x=left - 6, y=y(tick) + 4, class_="tick", text_anchor="end")
    for at in window.ticks:
        text = time.strftime("%H:%M", time.localtime(at))
        middle = min(max(x(at), left + 2.5 * LETTER), width - 6 - 2.5 * LETTER)
        add(root, "text", text, x=middle, y=height - 3, class_="tick", text_anchor="middle")
    for at, _ in window.marks:
        add(root, "line", x1=x(at), x2=x(at), y1=8, y2=height - 20, class_="mark")
    if not any(map(math.isfinite, values)):
        add(root, "text", "no data", x=(left + width) / 2, y=height / 2, class_="tick", text_anchor="middle")
    below: dict[float, float] = {}
    for number, top in enumerate(tops):
        style = f"fill:none;stroke:{COLOURS[number % len(COLOURS)]};stroke-width:1.6"
        for part in _unbroken(top, window.step):
            points = [(x(at), y(value)) for at, value in part.items()]
            if stack:
                floor = [(x(at), y(below.get(at, 0.0))) for at in reversed(part)]
                fill = f"fill:{COLOURS[number % len(COLOURS)]};opacity:.35;stroke:none"
                add(root, "path", d=path([*points, *floor]) + "Z", style=fill)
            if len(points) == 1:
                add(root, "circle", cx=points[0][0], cy=points[0][1], r=1.2, style=style)
            else:
                add(root, "path", d=path(points), style=style)
        below = {**below, **top} if stack else below
    return str(to_markup(root)) + _legend([line.name or panel["title"] for line in lines])


def _legend(names: list[str]) -> str:
    known = [
        f'<li><i style="background:{COLOURS[n % len(COLOURS)]}"></i>{escape(name)}</li>'
        for n, name in enumerate(names[:LEGEND])
    ]
    more = [f"<li>and {len(names) - LEGEND} more</li>"] if len(names) > LEGEND else []
    return f"<ul>{''.join(known + more)}</ul>"


def _unbroken(values: Mapping[float, float], step: float) -> Iterator[dict[float, float]]:
    """The parts of a curve: where there was no number for a step, nothing is drawn."""
    part: dict[float, float] = {}
    for at, value in sorted(values.items()):
        if part and (at - next(reversed(part)) > 1.5 * step or not math.isfinite(value)):
            yield part
            part = {}
        if math.isfinite(value):
            part[at] = value
    if part:
        yield part


def _stacked(lines: list[Line]) -> list[dict[float, float]]:
    sums: dict[float, float] = {at: 0.0 for line in lines for at in line.xs}
    tops = []
    for line in lines:
        for at, value in zip(line.xs, line.ys, strict=True):
            sums[at] += value if math.isfinite(value) else 0.0
        tops.append({at: sums[at] for at in sorted(sums)})
    return tops


def stat(panel: dict[str, Any], lines: list[Line]) -> str:
    """The last number of a panel, large."""
    numbers = [y for line in lines for y in line.ys if math.isfinite(y)]
    if not numbers:
        return '<p class="big none">no data</p>'
    value, defaults = numbers[-1], panel["fieldConfig"]["defaults"]
    steps = [step for step in defaults["thresholds"]["steps"] if step["value"] is None or value >= step["value"]]
    return f'<p class="big {steps[-1]["color"]}">{escape(shown(value, defaults["unit"]))}</p>'
