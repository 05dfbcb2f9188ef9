"""Each layer of an image reads a folder that changes only when that layer must be built again."""

from __future__ import annotations

import importlib.metadata
import re
import runpy
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

SERVICES: Mapping[str, set[str]] = {
    "caption-api": set(),
    "render-worker": set(),
    "trainer": {"torch", "timm"},
    "llm-server": {"torch", "transformers", "accelerate"},
}
HEAVY = {"torch", "timm", "transformers", "diffusers", "accelerate"}


@pytest.fixture(scope="module")
def script(root: Path) -> Mapping[str, Any]:
    return runpy.run_path(str(root / "scripts" / "image_requirements.py"))


@pytest.fixture(scope="module")
def pins(root: Path, script: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = script["read_pins"]((root / "constraints.txt").read_text())
    return found


@pytest.fixture(scope="module")
def pyproject(root: Path) -> dict[str, Any]:
    return tomllib.loads((root / "pyproject.toml").read_text())


@pytest.mark.parametrize("extra", SERVICES)
def test_a_service_gets_its_own_extra_and_no_other(
    script: Mapping[str, Any], pins: dict[str, str], pyproject: dict[str, Any], extra: str
) -> None:
    text = script["layers"](pyproject, pins, [extra])["service/requirements.txt"]
    names = {script["name_of"](line) for line in text.splitlines()}
    assert {"pydantic", "minio"} <= names
    assert names & HEAVY == SERVICES[extra]


def test_an_unrelated_pin_leaves_the_layer_of_torch_alone(
    script: Mapping[str, Any], pins: dict[str, str], pyproject: dict[str, Any]
) -> None:
    before = script["layers"](pyproject, pins, ["trainer"])
    after = script["layers"](pyproject, {**pins, "fastapi": "99", "httpx": "99"}, ["trainer"])
    changed = {path for path in before if before[path] != after[path]}
    assert changed == {"service/constraints.txt"}
    newer = script["layers"](pyproject, {**pins, "torch": "99"}, ["llm-server"])
    assert newer["torch/requirements.txt"] == "torch==99\n"
    # Images share the layer only if every service writes the same.
    both = [script["layers"](pyproject, pins, [extra]) for extra in ("trainer", "llm-server")]
    assert len({files["torch/requirements.txt"] + files["torch/constraints.txt"] for files in both}) == 1


def test_what_torch_requires_is_pinned_in_its_layer(
    script: Mapping[str, Any], pins: dict[str, str], pyproject: dict[str, Any]
) -> None:
    constraints = script["layers"](pyproject, pins, ["trainer"])["torch/constraints.txt"]
    pinned = set(script["read_pins"](constraints))
    required = {
        script["name_of"](line) for line in importlib.metadata.requires("torch") or [] if "extra ==" not in line
    }
    assert required - pinned <= {"setuptools"}
    assert len(pinned) < 40


def test_an_unknown_extra_is_refused_by_name(root: Path, tmp_path: Path) -> None:
    command = [sys.executable, "scripts/image_requirements.py", str(tmp_path), "no-such-extra"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode != 0
    assert re.search(r"no-such-extra", done.stderr)
    assert list(tmp_path.iterdir()) == []
