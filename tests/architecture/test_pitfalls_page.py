"""docs/pitfalls.md names tests that there are, under numbers from 1 to 42."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROW = re.compile(r"^\| (\d+) \| (.+) \| (.+) \|$", re.MULTILINE)


def rows() -> list[tuple[int, str]]:
    page = (ROOT / "docs" / "pitfalls.md").read_text()
    return [(int(number), tests) for number, _, tests in ROW.findall(page)]


def functions_of(path: Path) -> set[str]:
    found = ast.walk(ast.parse(path.read_text()))
    return {node.name for node in found if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_pitfall_has_a_row_and_every_test_of_it_exists() -> None:
    assert [number for number, _ in rows()] == list(range(1, 43))
    for number, tests in rows():
        if tests == "not built yet":
            continue
        for name in tests.split("<br>"):
            path, _, test = name.strip("`").partition("::")
            assert (ROOT / path).is_file(), (number, path)
            assert test in functions_of(ROOT / path), (number, name)
