"""Alerts have their section in the runbook, and queries read only what the services export."""

from __future__ import annotations

import re
from typing import Any

import pytest
from tests.observability.conftest import DEPLOY, ROOT, names_in
from typer.main import get_command

from synfarm.cli.app import app

RUNBOOK = ROOT / "docs" / "runbook.md"
ALWAYS = {"up"}
"""What Prometheus itself makes."""
VLLM_TABLE = re.compile(r"<!-- metrics of vllm -->\n(.*?)<!-- end of vllm -->", re.DOTALL)
SUFFIXES = {"counter": ("",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


def _of_vllm() -> dict[str, str]:
    """Series of the page's table, each with its metric: what we read of a server that is not ours."""
    (table,) = VLLM_TABLE.findall((ROOT / "docs" / "09-observability.md").read_text())
    rows = re.findall(r"^\| `(vllm:\w+)` \| (\w+) \|", table, re.MULTILINE)
    return {name + suffix: name for name, kind in rows for suffix in SUFFIXES[kind]}


def _series(exported: dict[str, list[Any]]) -> set[str]:
    return {name for metrics in exported.values() for metric in metrics for name in metric.series} | {*_of_vllm()}


def _unknown(query: str, series: set[str]) -> set[str]:
    return {name for name in names_in(query) - ALWAYS if not any(re.fullmatch(name, known) for known in series)}


def _queries(board: dict[str, Any]) -> list[tuple[str, str]]:
    return [(panel["title"], target["expr"]) for panel in board["panels"] for target in panel.get("targets", [])]


def test_names_are_found_in_queries() -> None:
    query = 'sum by (le, a) (rate(x_bucket{job="j", b=~"q"}[5m])) / on (run) group_left () y offset 2h > 0 unless z'
    assert names_in(query) == {"x_bucket", "y", "z"}
    assert names_in("histogram_quantile(0.5, rate(a_b_total[$__rate_interval])) * $price") == {"a_b_total"}


def test_every_alert_has_its_section_and_the_reverse(rules: list[dict[str, Any]]) -> None:
    text = RUNBOOK.read_text()
    sections = re.findall(r"^## (\w+)$", text, re.MULTILINE)
    assert [rule["alert"] for rule in rules] == sections
    for rule in rules:
        assert rule["annotations"]["runbook_url"] == f"docs/runbook.md#{rule['alert'].lower()}"
        assert rule["annotations"]["summary"]
        assert rule["labels"]["severity"] in {"warning", "critical"}
    for body in re.split(r"^## \w+$", text, flags=re.MULTILINE)[1:]:
        assert re.findall(r"^\*\*(\w+):\*\*", body, re.MULTILINE) == ["Means", "Look", "Do"]


def test_every_alert_has_a_test_that_fires_and_one_that_is_silent(rules: list[dict[str, Any]]) -> None:
    text = (DEPLOY / "prometheus" / "alerts.test.yml").read_text()
    tests = set(re.findall(r"^  - name: (.+)$", text, re.MULTILINE))
    assert tests == {f"{rule['alert']} {end}" for rule in rules for end in ("fires", "is silent")}


def test_alerts_and_dashboards_read_only_what_is_exported(
    rules: list[dict[str, Any]], dashboards: dict[str, dict[str, Any]], exported: dict[str, list[Any]]
) -> None:
    series = _series(exported)
    queries = [(rule["alert"], rule["expr"]) for rule in rules]
    queries += [query for board in dashboards.values() for query in _queries(board)]
    assert {title: found for title, query in queries if (found := _unknown(query, series))} == {}
    assert _unknown("synfarm_no_such_metric", series) == {"synfarm_no_such_metric"}
    read = {name for _, query in queries for name in names_in(query)}
    of_vllm = _of_vllm()
    assert {of_vllm[name] for name in read if name in of_vllm} == {*of_vllm.values()}, "listed, and read nowhere"


def test_scrape_jobs_are_the_processes_of_the_page(exported: dict[str, list[Any]]) -> None:
    config = (DEPLOY / "prometheus" / "prometheus.yml").read_text()
    assert re.findall(r"job_name: (\S+)", config) == list(exported)


def test_commands_and_settings_of_the_runbook_exist() -> None:
    text = RUNBOOK.read_text()
    for words in re.findall(r"`synfarm ([a-z ]+)", text):
        command: Any = get_command(app)
        for word in words.split():
            if not (known := getattr(command, "commands", None)):
                break  # an argument
            command = known[word]
    source = "".join(path.read_text() for path in ROOT.glob("services/*/*/settings.py"))
    source += (ROOT / "services/caption_api/synfarm_caption_api/feeder/settings.py").read_text()
    for name in re.findall(r"`SYNFARM_([A-Z_]+)", text):
        prefix = max((p for p in re.findall(r'env_prefix="SYNFARM_([A-Z_]*)"', source) if name.startswith(p)), key=len)
        assert re.search(rf"^    {name.removeprefix(prefix).lower()}\b", source, re.MULTILINE), name


def test_panels_of_the_runbook_exist(dashboards: dict[str, dict[str, Any]]) -> None:
    titles = {panel["title"] for board in dashboards.values() for panel in board["panels"]}
    assert set(re.findall(r"“([^”]+)”", RUNBOOK.read_text())) <= titles


@pytest.mark.parametrize("name", ["farm", "llm", "renderers", "trainer"])
def test_a_dashboard_has_the_shape_that_grafana_documents(name: str, dashboards: dict[str, dict[str, Any]]) -> None:
    """The classic model: grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model."""
    board = dashboards[name]
    assert (board["uid"], board["id"]) == (f"synfarm-{name}", None)
    assert board["schemaVersion"] == 39
    assert {"title", "tags", "timezone", "refresh", "time", "templating", "annotations", "links"} <= board.keys()
    variables = {variable["name"] for variable in board["templating"]["list"]}
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        assert panel["type"] in {"row", "stat", "timeseries"}
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, f"{panel['title']} lies over another panel"
        taken |= cells
        if panel["type"] == "row":
            continue
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["description"].endswith(".")
        assert [target["refId"] for target in panel["targets"]] == ["A", "B", "C", "D"][: len(panel["targets"])]
        for target in panel["targets"]:
            used = set(re.findall(r"\$(\w+)", target["expr"])) - {"__rate_interval", "__range"}
            assert used <= variables, f"{panel['title']}: ${used - variables}"
