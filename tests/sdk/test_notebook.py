"""docs/03-python-client.ipynb: its cells are Python, use what the client has, and hold nothing of one machine."""

from __future__ import annotations

import ast
import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from synfarm.contracts.base import Contract
from synfarm.sdk import Client, ClientConfig

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs" / "03-python-client.ipynb"


@pytest.fixture(scope="module")
def cells() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in found if cell["cell_type"] == "code"]


def unknown(source: str) -> Iterator[str]:
    """What a source uses of this project that is not there: names, methods of ``client``, fields of contracts."""
    tree = ast.parse(source)
    names: dict[str, Any] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("synfarm"):
            module = importlib.import_module(str(node.module))
            for alias in node.names:
                names[alias.asname or alias.name] = getattr(module, alias.name, None)
                if not hasattr(module, alias.name):
                    yield f"{node.module} has no {alias.name}"
    with Client(ClientConfig()) as client:
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and (path := _path(node)) and path[0] == "client":
                found: Any = client
                for name in path[1:]:
                    if not hasattr(found, name):
                        yield ".".join(path)
                        break
                    found = getattr(found, name)
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                kind = names.get(node.func.id)
                if isinstance(kind, type) and issubclass(kind, Contract):
                    given = {keyword.arg for keyword in node.keywords}
                    yield from (f"{kind.__name__} has no field {name}" for name in given - kind.model_fields.keys())


def _path(node: ast.expr) -> list[str]:
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.Attribute) and (before := _path(node.value)):
        return [*before, node.attr]
    return []


def test_its_cells_use_what_there_is(cells: list[dict[str, Any]]) -> None:
    assert list(unknown("\n".join("".join(cell["source"]) for cell in cells))) == []


@pytest.mark.parametrize(
    "source",
    [
        "from synfarm.sdk import Clientele",
        "client.jobs.sumbit(request)",
        "client.concepts.list()",
        "from synfarm.contracts.jobs import JobRequest\nJobRequest(concepts=['dog'], capshuns=8)",
    ],
)
def test_what_there_is_not_is_seen(source: str) -> None:
    assert list(unknown(source))


def test_it_was_run_whole_and_holds_nothing_of_a_machine(cells: list[dict[str, Any]]) -> None:
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    kinds = [output["output_type"] for cell in cells for output in cell["outputs"]]
    assert "error" not in kinds
    pictures = {kind for cell in cells for output in cell["outputs"] for kind in output.get("data", ())}
    assert {"image/png", "image/svg+xml"} <= pictures
    told = json.dumps(
        [
            {**output.get("data", {}), "image/png": ""} | {"text": output.get("text")}
            for cell in cells
            for output in cell["outputs"]
        ]
    )
    assert not re.search(r"/home/|/root/|/tmp/|site-packages|sf_[A-Za-z0-9]|127\.0\.0\.1", told)
    assert NOTEBOOK.stat().st_size < 300_000
