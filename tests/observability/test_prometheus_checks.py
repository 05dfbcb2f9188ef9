"""What is asked of a Prometheus that watches a farm, on answers as its HTTP API gives them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.observability.test_preview import script


@pytest.fixture(scope="module")
def checks() -> dict[str, Any]:
    return script("prometheus_checks")


def client(data: dict[str, Any] | None) -> httpx.Client:
    """To a Prometheus that answers one thing, or refuses."""
    answer = httpx.Response(503) if data is None else httpx.Response(200, json={"status": "success", "data": data})
    return httpx.Client(base_url="http://p", transport=httpx.MockTransport(lambda request: answer))


def target(job: str, health: str = "up", error: str = "") -> dict[str, Any]:
    return {"labels": {"job": job}, "scrapeUrl": f"http://{job}:8000", "health": health, "lastError": error}


def test_processes_are_counted_and_what_is_down_is_told(checks: dict[str, Any]) -> None:
    found = [target("a"), target("a"), target("b", "down", "refused"), target("c", "unknown")]
    up, wrong = checks["targets"](client({"activeTargets": found}))
    assert up == {"a": 2}
    assert wrong == ["target http://b:8000: refused", "target http://c:8000: unknown"]
    with pytest.raises(checks["NoAnswer"]):
        checks["targets"](client(None))


def test_alerts_that_are_missing_fail_or_were_not_evaluated_are_told(
    checks: dict[str, Any], rules: list[dict[str, Any]]
) -> None:
    names = [rule["alert"] for rule in rules]
    loaded = [{"name": name, "state": "inactive", "health": "ok"} for name in names]
    states, wrong = checks["alerts"](client({"groups": [{"rules": loaded[:3]}, {"rules": loaded[3:]}]}))
    assert wrong == []
    assert list(states) == names
    loaded[0] |= {"health": "err", "lastError": "many-to-many"}
    loaded[1] |= {"health": "unknown", "lastError": ""}
    _, wrong = checks["alerts"](client({"groups": [{"rules": loaded[:-1]}]}))
    assert wrong == [
        f"alert {names[-1]} is not loaded",
        f"alert {names[0]}: many-to-many",
        f"alert {names[1]}: unknown",
    ]


def test_the_proof_says_that_prometheus_ended_early(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    prometheus = tmp_path / "prometheus"
    prometheus.write_text("#!/bin/sh\nexit 7\n")
    prometheus.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    serving = script("observability_proof")["serving"]

    async def begin() -> None:
        async with serving(tmp_path, "127.0.0.1:1"):
            raise AssertionError("it never answered")

    with pytest.raises(SystemExit, match="code 7"):
        asyncio.run(begin())
