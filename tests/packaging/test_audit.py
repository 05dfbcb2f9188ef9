"""`make audit`: its three answers, by what pip-audit wrote; silence of its source is no good news."""

from __future__ import annotations

import json
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

FILE = Path(__file__).resolve().parents[2] / "scripts" / "audit.py"
FINE = {"name": "a", "version": "1", "vulns": []}
UNKNOWN = {"name": "b", "skip_reason": "Dependency not found"}
BAD = {"name": "c", "version": "2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.1"]}]}
HOPELESS = {"name": "d", "version": "3", "vulns": [{"id": "PYSEC-2", "fix_versions": []}]}


@pytest.fixture(scope="module")
def audit() -> Any:
    spec = spec_from_file_location("audit", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("packages", "code", "told"),
    [
        ([FINE], "CLEAN", "no known vulnerability in 1 packages"),
        ([FINE, BAD], "VULNERABLE", "c 2: PYSEC-1, fixed in 2.1"),
        ([HOPELESS], "VULNERABLE", "d 3: PYSEC-2, no version has a fix"),
        ([FINE, UNKNOWN], "UNPROVEN", "about 1 of 2 packages: b"),
        ([BAD, UNKNOWN], "VULNERABLE", "about 1 of 2 packages: b"),
        ([UNKNOWN], "UNPROVEN", "Nothing is proven"),
        ([], "UNPROVEN", "Nothing is proven"),
    ],
)
def test_what_pip_audit_found(audit: Any, packages: list[dict[str, Any]], code: str, told: str) -> None:
    found = audit.judge(json.dumps({"dependencies": packages, "fixes": []}), "")
    assert found[0] == getattr(audit, code)
    assert told in found[1]


def test_a_source_that_cannot_be_asked_is_told_with_its_reason(audit: Any) -> None:
    code, told = audit.judge("", "Traceback\nConnectionError: no route to host\n\n")
    assert code == audit.UNPROVEN
    assert "ConnectionError: no route to host" in told


def test_the_codes_differ(audit: Any) -> None:
    assert len({audit.CLEAN, audit.VULNERABLE, audit.UNPROVEN}) == 3
