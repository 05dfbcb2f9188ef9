"""Alerts of a cluster are those of compose."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import yaml

REPO = Path(__file__).resolve().parents[2]
RULES = """# what an operator is told
groups:
  - name: processes
    rules:
      - alert: Down
        expr: >-
          up
          == 0
        # a comment

        annotations: {summary: "{{ $labels.job }}"}
"""


@pytest.fixture(scope="module")
def script() -> Any:
    spec = importlib.util.spec_from_file_location("rule", REPO / "scripts" / "write_prometheus_rule.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_an_object_holds_the_groups_as_they_are(script: Any) -> None:
    made = yaml.safe_load(script.prometheus_rule(RULES))
    assert made["spec"] == yaml.safe_load(RULES)
    assert (made["kind"], made["metadata"]["namespace"]) == ("PrometheusRule", "synfarm")


def test_a_file_without_groups_is_refused(script: Any) -> None:
    with pytest.raises(ValueError, match="a line 'groups:' is missing"):
        script.prometheus_rule("rules: []\n")


def test_the_file_is_what_the_script_writes(script: Any) -> None:
    if not script.RULES.exists():
        pytest.skip("compose has no alert rules yet")
    wanted = script.prometheus_rule(script.RULES.read_text())
    assert script.WRITTEN.read_text() == wanted, "run: python scripts/write_prometheus_rule.py"
