"""The preview of the dashboards: Grafana's variables are filled in, numbers are written readably, gaps are told."""

from __future__ import annotations

import json
import re
import runpy
from typing import Any

import httpx
import pytest
from tests.observability.conftest import ROOT


def script(name: str) -> dict[str, Any]:
    """A script as a module; they stand beside each other."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "scripts"))
        return runpy.run_path(str(ROOT / "scripts" / f"{name}.py"))


@pytest.fixture(scope="module")
def preview() -> dict[str, Any]:
    return script("dashboards_page")


@pytest.fixture(scope="module")
def panels() -> dict[str, Any]:
    return script("dashboard_panels")


def drawn(panels: dict[str, Any], lines: list[Any], window: Any, unit: str = "none") -> str:
    """A panel with these lines."""
    defaults = {"unit": unit, "min": 0, "custom": {"stacking": {"mode": "none"}}}
    panel = {"title": "T", "description": "D", "gridPos": {"w": 8, "h": 8}, "fieldConfig": {"defaults": defaults}}
    return str(panels["chart"]("k", panel, lines, window))


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.934, "percentunit", "93.4 %"),
        (0.02, "s", "20 ms"),
        (150, "s", "150 s"),
        (8784, "s", "146 min"),
        (36_000, "s", "10 h"),
        (0, "s", "0 s"),
        (9_590, "Bps", "9.59 kB/s"),
        (1.5, "currencyUSD", "$1.50"),
        (12.34, "suffix: img/s", "12.3 img/s"),
        (float("nan"), "none", "–"),
        (-0.5, "s", "−500 ms"),
        (2e-5, "s", "20 µs"),
        (599.9, "s", "600 s"),
        (9e6, "s", "2,500 h"),
        (-2e6, "bytes", "−2 MB"),
        (999.7, "bytes", "1,000 B"),
        (12.34, "percentunit", "1,234 %"),
        (-1.5, "currencyUSD", "−$1.50"),
        (999.6, "none", "1,000"),
        (-3, "none", "−3"),
    ],
)
def test_numbers(panels: dict[str, Any], value: float, unit: str, text: str) -> None:
    assert panels["shown"](value, unit) == text


def test_a_curve_is_broken_where_nothing_was_told(panels: dict[str, Any]) -> None:
    ys = [1.0, 2.0, 3.0, float("nan"), 5.0, 6.0, 7.0]
    line = panels["Line"]("a", [0.0, 4.0, 8.0, 12.0, 16.0, 40.0, 44.0], ys)
    text = drawn(panels, [line], panels["Window"](0, 600))  # a step is 4 s
    assert (text.count("<path"), text.count("<circle")) == (2, 1)


def test_an_empty_panel_says_so_and_moments_are_marked(panels: dict[str, Any]) -> None:
    window = panels["Window"](0, 600, ((100.0, "a blow"), (200.0, "another")))
    assert "no data" in drawn(panels, [], window)
    text = drawn(panels, [panels["Line"]("a", [0.0, 4.0], [1.0, 2.0])], window)
    assert "no data" not in text
    assert text.count('class="mark"') == 2


def test_words_at_the_axis_have_room(panels: dict[str, Any]) -> None:
    line = panels["Line"]("a", [0.0, 4.0], [0.0055, 0.006])
    text = drawn(panels, [line], panels["Window"](0, 600), "suffix: TFLOP/s")
    (at,) = {float(x) for x in re.findall(r'x="([\d.]+)" y="[\d.]+" class="tick" text-anchor="end">0.006 ', text)}
    assert at >= len("0.006 TFLOP/s") * panels["LETTER"]


def test_ticks_of_time_are_whole_minutes(panels: dict[str, Any]) -> None:
    assert panels["Window"](130, 730).ticks == [240.0, 360.0, 480.0, 600.0, 720.0]
    assert len(panels["Window"](0, 86_400).ticks) == 5


def test_every_query_is_asked_with_its_variables_filled_and_an_empty_one_is_named(preview: dict[str, Any]) -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        query = httpx.QueryParams(request.content.decode())["query"]
        asked.append(query)
        values = [] if "lost_commits" in query else [{"metric": {"run": "<r>"}, "values": [[1000, "1"], [1010, "2"]]}]
        return httpx.Response(200, json={"status": "success", "data": {"result": values}})

    with httpx.Client(base_url="http://p", transport=httpx.MockTransport(answer)) as client:
        window = preview["Window"](1000, 1600, ((1300, "a <blow>"),))
        text, empty = preview["page"](client, window, 15.0)
    boards = [json.loads((preview["BOARDS"] / f"{name}.json").read_text()) for name in preview["ORDER"]]
    wanted = [target["expr"] for board in boards for panel in board["panels"] for target in panel.get("targets", [])]
    assert len(asked) == len(wanted)
    assert not [query for query in asked if "$" in query]
    assert "rate(synfarm_farm_images_total[60s])" in "".join(asked)
    assert [query.split(": ")[:2] for query in empty] == [["renderers", "Lost commits"]]
    assert "&lt;r&gt;" in text
    assert "<r>" not in text
    assert "a &lt;blow&gt;" in text
