"""What is shipped to watch a farm, as data: rules, dashboards, and what the services export."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy" / "observability"


@pytest.fixture(scope="session")
def page_script() -> dict[str, Any]:
    """scripts/metrics_page.py."""
    return runpy.run_path(str(ROOT / "scripts" / "metrics_page.py"))


@pytest.fixture(scope="session")
def exported(page_script: dict[str, Any]) -> dict[str, list[Any]]:
    """The metrics of each process."""
    found: dict[str, list[Any]] = page_script["exported"]()
    return found


@pytest.fixture(scope="session")
def rules() -> list[dict[str, Any]]:
    """Every alert."""
    groups = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


@pytest.fixture(scope="session")
def dashboards() -> dict[str, dict[str, Any]]:
    """Every dashboard by its file's name."""
    return {path.stem: json.loads(path.read_text()) for path in sorted((DEPLOY / "grafana/dashboards").glob("*.json"))}


def names_in(query: str) -> set[str]:
    """The metrics that a PromQL expression reads; a regular expression for a name stays one."""
    by_name = set(re.findall(r'__name__=~"([^"]+)"', query))
    bare = re.sub(r'"[^"]*"', "", query)
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]", " ", bare)
    bare = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", " ", bare)
    bare = re.sub(r"\boffset\s+\w+|\$\w+", " ", bare)
    words = re.findall(r"(?<![\w.])[a-zA-Z_:][\w:]*(?!\w*\s*\()", bare)
    return by_name | {word for word in words if word not in {"and", "or", "unless", "bool"}}
