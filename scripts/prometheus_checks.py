"""What a Prometheus with our configuration says about a farm: processes, alerts, dashboards' queries without data.

The names are those of Prometheus' HTTP API (docs/querying/api.md of prometheus/prometheus).
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import yaml
from dashboard_panels import Window
from dashboards_page import NoAnswer, page

CONFIG = Path(__file__).resolve().parent.parent / "deploy" / "observability" / "prometheus"
EMPTY_ON_A_CPU = {"synfarm_trainer_run_mfu", "synfarm_trainer_run_mfu_achievable"}
"""A CPU has no peak that is known, so nothing is a share of it."""


def scrape_seconds() -> float:
    """Seconds between two scrapes, in the shipped configuration."""
    interval: str = yaml.safe_load((CONFIG / "prometheus.yml").read_text())["global"]["scrape_interval"]
    return float(interval.removesuffix("s"))


def _asked(client: httpx.Client, path: str) -> Any:
    """The data of an answer.

    Raises:
        NoAnswer: there is none.
    """
    try:
        answer = client.get(path).raise_for_status().json()
    except (httpx.HTTPError, ValueError) as error:
        raise NoAnswer(f"Prometheus does not answer {path}: {error}") from error
    return answer["data"]


def targets(client: httpx.Client) -> tuple[Counter[str], list[str]]:
    """(how many processes of each job are up, what is wrong with the others)."""
    found = _asked(client, "/api/v1/targets?state=active")["activeTargets"]
    up = Counter(str(target["labels"]["job"]) for target in found if target["health"] == "up")
    return up, [f"target {t['scrapeUrl']}: {t['lastError'] or t['health']}" for t in found if t["health"] != "up"]


def alerts(client: httpx.Client) -> tuple[dict[str, str], list[str]]:
    """(the state of every alert that is loaded, what is wrong: alerts of the shipped file that are missing or fail)."""
    groups = _asked(client, "/api/v1/rules?type=alert")["groups"]
    found = {rule["name"]: rule for group in groups for rule in group["rules"]}
    shipped = yaml.safe_load((CONFIG / "alerts.yml").read_text())["groups"]
    names = [rule["alert"] for group in shipped for rule in group["rules"]]
    wrong = [f"alert {name} is not loaded" for name in names if name not in found]
    # "unknown" until it has been evaluated once.
    wrong += [
        f"alert {name}: {rule.get('lastError') or rule['health']}"
        for name, rule in found.items()
        if rule["health"] != "ok"
    ]
    return {name: rule["state"] for name, rule in found.items()}, wrong


def without_data(client: httpx.Client, window: Window, interval: float, output: Path) -> list[str]:
    """The queries of the dashboards that had no number in the window but could have one; the page that shows it all."""
    text, empty = page(client, window, interval)
    output.write_text(text, encoding="utf-8")
    return [query for query in empty if not any(f"{name}{{" in query for name in EMPTY_ON_A_CPU)]
