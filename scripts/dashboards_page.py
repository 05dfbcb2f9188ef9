"""A preview of the Grafana dashboards as one plain HTML page, for people without Grafana.

    python scripts/dashboards_page.py --prometheus http://127.0.0.1:9090 -o dashboards.html

It asks Prometheus' HTTP API for what each panel asks, and draws panels, units and places as the dashboards' files have
them. It is no Grafana: one moment, no zoom, variables at their defaults. It ends with 1 where a query has no data.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import httpx

from synfarm.report.charts.scales import axis
from synfarm.report.charts.svg import add, figure, path, to_markup

BOARDS = Path(__file__).resolve().parent.parent / "deploy" / "observability" / "grafana" / "dashboards"
ORDER = ("farm", "llm", "renderers", "trainer")
COLUMN, LINE = 58.0, 30.0
"""Pixels of Grafana's grid: 24 columns, lines of 30 px."""
COLOURS = ("#3b82c4", "#e8833a", "#4c9f70", "#b04a7a", "#8a6fc9", "#c9a227", "#3aa6a0", "#d05353", "#7d8590", "#6b8e23")
POINTS = 150


@dataclass(frozen=True, slots=True)
class Line:
    """One series of a panel."""

    name: str
    xs: Sequence[float]
    ys: Sequence[float]


@dataclass(frozen=True, slots=True)
class Window:
    """The time that is shown, in seconds of Unix time."""

    begin: float
    end: float

    @property
    def step(self) -> float:
        return max(1.0, (self.end - self.begin) / POINTS)


def filled(query: str, board: dict[str, Any], window: Window, interval: float) -> str:
    """The query with Grafana's variables, and the dashboard's at their defaults, put in."""
    values = {"__rate_interval": f"{max(4 * interval, 15):.0f}s", "__range": f"{window.end - window.begin:.0f}s"}
    for variable in board["templating"]["list"]:
        values[variable["name"]] = variable.get("allValue") or str(variable["current"].get("value", ""))
    for name in sorted(values, key=len, reverse=True):
        query = query.replace(f"${name}", values[name])
    return query


def ask(client: httpx.Client, query: str, window: Window) -> list[tuple[dict[str, str], Line]]:
    """Every series of a query over the window.

    Raises:
        SystemExit: Prometheus refuses the query, or does not answer.
    """
    asked = {"query": query, "start": str(window.begin), "end": str(window.end), "step": f"{window.step:.3f}"}
    try:
        answer = client.post("/api/v1/query_range", data=asked).json()
    except (httpx.HTTPError, ValueError) as error:
        raise SystemExit(f"Prometheus does not answer: {error}") from error
    if answer["status"] != "success":
        raise SystemExit(f"{query}: {answer['error']}")
    found = []
    for series in answer["data"]["result"]:
        xs, ys = zip(*((float(at), float(value)) for at, value in series["values"]), strict=True)
        found.append((series["metric"], Line("", xs, ys)))
    return found


def lines_of(
    client: httpx.Client, panel: dict[str, Any], board: dict[str, Any], window: Window, interval: float
) -> Any:
    """(the panel's lines, the queries without a number)."""
    lines: list[Line] = []
    empty: list[str] = []
    for target in panel["targets"]:
        found = ask(client, filled(target["expr"], board, window, interval), window)
        if not any(math.isfinite(y) for _, line in found for y in line.ys):
            empty.append(target["expr"])
        for labels, line in found:
            name = target["legendFormat"]
            for label, value in labels.items():
                name = name.replace("{{" + label + "}}", value)
            lines.append(Line(name, line.xs, line.ys))
    return lines, empty


def shown(value: float, unit: str) -> str:
    """A number as Grafana would write it, near enough."""
    if not math.isfinite(value):
        return "–"
    if unit == "percentunit":
        return f"{100 * value:.3g} %"
    if unit == "percent":
        return f"{value:.3g} %"
    if unit == "s":
        whole = ((36_000, 3600, "h"), (600, 60, "min"), (1, 1, "s"), (0, 1e-3, "ms"))
        return "0 s" if value == 0 else next(f"{value / by:.3g} {u}" for least, by, u in whole if value >= least)
    if unit in {"bytes", "Bps"}:
        power = min(4, int(math.log(value, 1000))) if value >= 1000 else 0
        return f"{value / 1000**power:.3g} {('B', 'kB', 'MB', 'GB', 'TB')[power]}{'/s' if unit == 'Bps' else ''}"
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    words = {"reqps": " req/s", "h": " h", "none": ""}
    if unit == "currencyUSD":
        return f"${value:,.2f}"
    return text + (unit.removeprefix("suffix:") if unit.startswith("suffix:") else words.get(unit, ""))


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
    left = 74.0
    x = lambda at: left + (at - window.begin) / (window.end - window.begin) * (width - left - 6)  # noqa: E731
    y = y_axis.scale(height - 20, 8)
    root = figure(key, width, height, title=panel["title"], description=panel["description"])
    for tick in y_axis.ticks:
        add(root, "line", x1=left, x2=width - 6, y1=y(tick), y2=y(tick), class_="grid")
        add(root, "text", shown(tick, defaults["unit"]), x=left - 6, y=y(tick) + 4, class_="tick", text_anchor="end")
    for i in range(5):
        at = window.begin + i * (window.end - window.begin) / 4
        place = "start" if i == 0 else "end" if i == 4 else "middle"
        add(
            root,
            "text",
            time.strftime("%H:%M", time.localtime(at)),
            x=x(at),
            y=height - 3,
            class_="tick",
            text_anchor=place,
        )
    below = dict.fromkeys(tops[0], 0.0) if tops else {}
    for number, top in enumerate(tops):
        colour = COLOURS[number % len(COLOURS)]
        points = [(x(at), y(value)) for at, value in top.items() if math.isfinite(value)]
        if stack and points:
            floor = [(x(at), y(below.get(at, 0.0))) for at in reversed(top)]
            add(root, "path", d=path([*points, *floor]) + "Z", style=f"fill:{colour};opacity:.35;stroke:none")
            below = {**below, **top}
        if len(points) == 1:
            add(root, "circle", cx=points[0][0], cy=points[0][1], r=2.0, style=f"fill:{colour}")
        elif points:
            add(root, "path", d=path(points), style=f"fill:none;stroke:{colour};stroke-width:1.6")
    names = [
        f'<li><i style="background:{COLOURS[n % len(COLOURS)]}"></i>{escape(line.name or panel["title"])}</li>'
        for n, line in enumerate(lines[:8])
    ]
    more = [f"<li>and {len(lines) - 8} more</li>"] if len(lines) > 8 else []
    return str(to_markup(root)) + f"<ul>{''.join(names + more)}</ul>"


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


CSS = """
* { box-sizing: border-box }
body { margin: 0; padding: 26px 30px; background: #f3f5f8; color: #1c2733 }
body { font: 13px/1.35 system-ui, 'DejaVu Sans', sans-serif }
header { margin: 0 0 18px }
h1 { font-size: 24px; margin: 0 0 4px }
header p, section > p { margin: 0; color: #5b6875 }
main { columns: 1392px; column-gap: 40px }
section { break-inside: avoid; padding: 0 0 26px; width: 1392px }
h2 { font-size: 19px; margin: 0 0 2px }
section > p { margin-bottom: 8px }
div.grid { position: relative; width: 1392px }
h3 { position: absolute; margin: 0; font-size: 13px; color: #5b6875; font-weight: 600; line-height: 30px }
article { position: absolute; padding: 3px }
article > div { height: 100%; padding: 8px 12px; overflow: hidden }
article > div { background: #fff; border: 1px solid #dbe1e8; border-radius: 5px }
h4 { margin: 0 0 2px; font-size: 13px; font-weight: 600 }
.big { margin: 12px 0 0; font-size: 27px; font-weight: 600; text-align: center; white-space: nowrap }
.blue { color: #2f6fad } .green { color: #2f855a } .red { color: #c53030 }
.none { color: #9aa5b1; font-size: 20px }
svg { display: block }
svg .grid { stroke: #e6ebf0; stroke-width: 1 }
.tick { font-size: 11px; fill: #6b7785 }
ul { display: flex; flex-wrap: wrap; gap: 2px 14px; margin: 4px 0 0; padding: 0; list-style: none }
ul { font-size: 11px; color: #44515e; max-height: 30px; overflow: hidden }
li i { display: inline-block; width: 11px; height: 3px; margin: 0 5px 3px 0; border-radius: 1px }
"""


def section(client: httpx.Client, name: str, window: Window, interval: float) -> tuple[str, list[str]]:
    """One dashboard, and its queries without data."""
    board = json.loads((BOARDS / f"{name}.json").read_text(encoding="utf-8"))
    parts, empty = [], []
    for panel in board["panels"]:
        place = panel["gridPos"]
        box = f"left:{place['x'] * COLUMN:.0f}px;top:{place['y'] * LINE:.0f}px"
        if panel["type"] == "row":
            parts.append(f'<h3 style="{box}">{escape(panel["title"])}</h3>')
            continue
        box += f";width:{place['w'] * COLUMN:.0f}px;height:{place['h'] * LINE:.0f}px"
        lines, missing = lines_of(client, panel, board, window, interval)
        empty += [f"{name}: {panel['title']}: {query}" for query in missing]
        body = stat(panel, lines) if panel["type"] == "stat" else chart(f"{name}-{panel['id']}", panel, lines, window)
        parts.append(f'<article style="{box}"><div><h4>{escape(panel["title"])}</h4>{body}</div></article>')
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in board["panels"]) * LINE
    head = f"<h2>{escape(board['title'])}</h2><p>{escape(board['description'])}</p>"
    grid = f'<div class="grid" style="height:{height:.0f}px">{"".join(parts)}</div>'
    return f'<section id="{name}">{head}{grid}</section>', empty


def page(client: httpx.Client, window: Window, interval: float, names: Sequence[str] = ORDER) -> tuple[str, list[str]]:
    """The whole page, and every query without data as ``dashboard: panel: query``."""
    sections, empty = zip(*(section(client, name, window, interval) for name in names), strict=True)
    at = time.strftime("%Y-%m-%d %H:%M", time.localtime(window.end))
    minutes = (window.end - window.begin) / 60
    note = f"A preview of the Grafana dashboards, drawn without Grafana. {minutes:.0f} minutes until {at}."
    head = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>synfarm: dashboards</title><style>{CSS}</style>'
    )
    text = f"{head}<header><h1>synfarm</h1><p>{note}</p></header><main>{''.join(sections)}</main></html>"
    return text, [query for found in empty for query in found]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--prometheus", default="http://127.0.0.1:9090", help="its address")
    parser.add_argument("-o", "--output", type=Path, default=Path("dashboards.html"))
    parser.add_argument("--minutes", type=float, default=60.0, help="until now, that are shown")
    parser.add_argument("--scrape-interval", type=float, default=15.0, help="seconds, as Prometheus is configured")
    parser.add_argument("--board", choices=ORDER, action="append", help="this one alone; may be repeated")
    given = parser.parse_args()
    window = Window(time.time() - 60 * given.minutes, time.time())
    with httpx.Client(base_url=given.prometheus, timeout=30, trust_env=False) as client:
        text, empty = page(client, window, given.scrape_interval, given.board or ORDER)
    given.output.write_text(text, encoding="utf-8")
    for query in empty:
        sys.stderr.write(f"no data: {query}\n")
    return 1 if empty else 0


if __name__ == "__main__":
    sys.exit(main())
