"""The preview of the dashboards: Grafana's variables are filled in, numbers are written readably, gaps are told."""

from __future__ import annotations

import json
import runpy
from typing import Any

import httpx
import pytest
from tests.observability.conftest import ROOT


@pytest.fixture(scope="module")
def preview() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "scripts" / "dashboards_page.py"))


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
    ],
)
def test_numbers(preview: dict[str, Any], value: float, unit: str, text: str) -> None:
    assert preview["shown"](value, unit) == text


def test_every_query_is_asked_with_its_variables_filled_and_an_empty_one_is_named(preview: dict[str, Any]) -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        query = httpx.QueryParams(request.content.decode())["query"]
        asked.append(query)
        values = [] if "lost_commits" in query else [{"metric": {"run": "<r>"}, "values": [[1000, "1"], [1010, "2"]]}]
        return httpx.Response(200, json={"status": "success", "data": {"result": values}})

    with httpx.Client(base_url="http://p", transport=httpx.MockTransport(answer)) as client:
        text, empty = preview["page"](client, preview["Window"](1000, 1600), 15.0)
    boards = [json.loads((preview["BOARDS"] / f"{name}.json").read_text()) for name in preview["ORDER"]]
    wanted = [target["expr"] for board in boards for panel in board["panels"] for target in panel.get("targets", [])]
    assert len(asked) == len(wanted)
    assert not [query for query in asked if "$" in query]
    assert "rate(synfarm_farm_images_total[60s])" in "".join(asked)
    assert [query.split(": ")[:2] for query in empty] == [["renderers", "Lost commits"]]
    assert "&lt;r&gt;" in text
    assert "<r>" not in text
