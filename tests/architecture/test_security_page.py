"""docs/security.md names a test for each threat: every one of them exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)


def test_every_threat_names_its_tests() -> None:
    table = PAGE.partition("## Threats")[2].partition("## TLS")[0]
    rows = [line for line in table.splitlines() if line.startswith("|")][2:]
    assert len(rows) > 15
    assert [row for row in rows if not re.search(r"`tests/[\w/]+\.py::\w+`", row.rsplit("|", 2)[1])] == []


def test_every_test_that_is_named_exists() -> None:
    missing = []
    for file, name in NAMED:
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8")) if (ROOT / file).is_file() else ast.Module([], [])
        found = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
        if name not in found:
            missing.append(f"{file}::{name}")
    assert missing == []
