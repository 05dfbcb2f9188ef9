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
from html import escape
from pathlib import Path
from typing import Any

import httpx
from dashboard_panels import COLUMN, LINE, Line, Window, chart, stat

BOARDS = Path(__file__).resolve().parent.parent / "deploy" / "observability" / "grafana" / "dashboards"
ORDER = ("farm", "llm", "renderers", "trainer")


class NoAnswer(Exception):
    """Prometheus does not answer, or refuses a query; the message says which."""


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
        NoAnswer: Prometheus refuses the query, or does not answer.
    """
    asked = {"query": query, "start": str(window.begin), "end": str(window.end), "step": f"{window.step:.3f}"}
    try:
        answer = client.post("/api/v1/query_range", data=asked).json()
    except (httpx.HTTPError, ValueError) as error:
        raise NoAnswer(f"Prometheus does not answer: {error}") from error
    if answer["status"] != "success":
        raise NoAnswer(f"{query}: {answer['error']}")
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
svg .mark { stroke: #b04a7a; stroke-width: 1; stroke-dasharray: 2 3 }
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
    if window.marks:
        told = [f"{time.strftime('%H:%M:%S', time.localtime(at))} {what}" for at, what in window.marks]
        note += f" Dashed lines: {'; '.join(told)}."
    head = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>synfarm: dashboards</title><style>{CSS}</style>'
    )
    text = f"{head}<header><h1>synfarm</h1><p>{escape(note)}</p></header><main>{''.join(sections)}</main></html>"
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
        try:
            text, empty = page(client, window, given.scrape_interval, given.board or ORDER)
        except NoAnswer as error:
            raise SystemExit(str(error)) from error
    given.output.write_text(text, encoding="utf-8")
    for query in empty:
        sys.stderr.write(f"no data: {query}\n")
    return 1 if empty else 0


if __name__ == "__main__":
    sys.exit(main())
