"""Watches the stack of `make e2e-compose` with Prometheus and our configuration: targets, alerts, dashboards."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import httpx
import prometheus_checks
from dashboard_panels import Window
from dashboards_page import BOARDS, NoAnswer
from e2e_stack import ROOT, Failed, Stack, until
from pictures import NoPicture, chromium, keep

T = TypeVar("T")
SHOWN = ROOT / "build" / "e2e-compose"
PROCESSES = {"caption-api": 2, "caption-worker": 1, "render-worker": 2, "llm-server": 1, "trainer": 1}
"""What must be scraped, by the names of the scrape jobs."""
WIDTH, SCALE = 2884, 0.75
"""Pixels of the page beside each other, two dashboards, and how much smaller the picture is."""


class Watch:
    """Prometheus of a stack, from when it is up."""

    def __init__(self, stack: Stack) -> None:
        self._stack, self._began = stack, time.time()
        address = f"http://127.0.0.1:{stack.port('PROMETHEUS')}"
        self._client = httpx.Client(base_url=address, timeout=30, trust_env=False)

    def processes(self) -> None:
        """Wait until every process of the stack is scraped, each replica by itself, and nothing else is."""

        def all_up() -> bool | None:
            up, wrong = _told(lambda: prometheus_checks.targets(self._client))
            if wrong or up != PROCESSES:
                raise Failed(f"up are {dict(up)}; {'; '.join(wrong)}")
            return True

        with self._stack.phase("Prometheus finds every process") as notes:
            until("all are scraped", all_up, 180)
            notes.append(", ".join(f"{count} {name}" for name, count in PROCESSES.items()))

    def alerts(self) -> None:
        """Every alert of ours must be loaded and evaluated without an error, whether it fires or not."""

        def all_evaluated() -> dict[str, str] | None:
            states, wrong = _told(lambda: prometheus_checks.alerts(self._client))
            if wrong:
                raise Failed("; ".join(wrong))
            return states

        with self._stack.phase("every alert is evaluated") as notes:
            states = until("all are evaluated", all_evaluated, 120)
            told = [f"{name} {state}" for name, state in states.items() if state != "inactive"]
            notes.append(f"{len(states)} alerts; {', '.join(told) or 'none has a reason'}")

    def dashboards(self, trained_on: str) -> None:
        """With a run at work: every query of the dashboards that can have data must have had some by then."""
        stack, page = self._stack, SHOWN / "dashboards.html"
        SHOWN.mkdir(parents=True, exist_ok=True)

        def window() -> Window:
            return Window(self._began, time.time(), tuple(stack.blows))

        def all_there() -> bool | None:
            missing = _told(
                lambda: prometheus_checks.without_data(self._client, window(), prometheus_checks.scrape_seconds(), page)
            )
            if missing:
                raise Failed("without data: " + "; ".join(missing))
            return True

        with stack.phase("every query of the dashboards has data") as notes:
            # The short run before may have ended between two scrapes.
            overrides = {"schedule.steps": 20_000, "schedule.warmup_steps": 20, "checkpoint.every_steps": 10}
            body = {"jobs": [trained_on], "preset": "tiny", "overrides": overrides}
            run = stack.trainer("/v1/runs", body)["run"]
            until("every query has data", all_there, 600)
            notes.append(f"{page.relative_to(ROOT)}; {_picture(page)}")
            stack.trainer(f"/v1/runs/{run}/stop", {})
        if "grafana" in stack.long_running:
            self._grafana()

    def _grafana(self) -> None:
        """Grafana must offer all four to whoever comes (its HTTP API, "Folder/dashboard search")."""
        wanted = {json.loads(path.read_text())["title"] for path in BOARDS.glob("*.json")}

        def offered() -> bool | None:
            found = {item["title"] for item in self._stack.curl("GRAFANA", "/api/search?type=dash-db")}
            if found != wanted:
                raise Failed(f"it offers {sorted(found)}")
            return True

        with self._stack.phase("Grafana offers the dashboards"):
            until("all are offered", offered, 120)


def _told(ask: Callable[[], T]) -> T:
    """What Prometheus says; where it says nothing, that is a failure of the step."""
    try:
        return ask()
    except NoAnswer as error:
        raise Failed(str(error)) from error


def _picture(page: Path) -> str:
    """Where the page's picture is, in words: E2E_PICTURE, or beside the page."""
    path = Path(os.environ.get("E2E_PICTURE", SHOWN / "dashboards.png")).absolute()
    try:
        with chromium() as browser:
            tab = browser.new_page(viewport={"width": WIDTH, "height": 1000}, device_scale_factor=SCALE)
            tab.goto(page.as_uri())
            keep(path, tab.screenshot(full_page=True), drawing=True)
    except NoPicture as error:
        return f"no picture: {error}"
    return os.path.relpath(path, ROOT)
