"""Builds of k8s/, each made once, and an example that is small enough to break."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml
from tests.k8s.manifests import K8S, Manifests, base_with, build, kubectl

_CURE = "install kubectl 1.27 or newer (its kustomize is 5 or newer): https://kubernetes.io/docs/tasks/tools/"


@cache
def _built(name: str) -> Manifests:
    kind, _, rest = name.partition(" ")
    if kind == "overlay":
        return build(K8S / "overlays" / rest)
    if kind in {"component", "store"}:
        more = [K8S / "overlays" / "laptop" / "llm-server.yaml"] if kind == "store" else []
        with TemporaryDirectory() as folder:
            return build(base_with(Path(folder), rest, *more), anywhere=bool(more))
    if kind == "gpu":
        with TemporaryDirectory() as folder:
            return build(base_with(Path(folder), rest, base=K8S / "overlays" / "gpu"))
    return build(K8S / "base")


@pytest.fixture
def built() -> Callable[[str], Manifests]:
    """``base``; ``overlay gpu``; ``component keda``: on the base; ``store minio``: the base whole, with that store;
    ``gpu vllm``: the overlay with a component."""
    if kubectl() is None:
        if os.environ.get("SYNFARM_K8S_CHECK"):
            pytest.fail(f"there is no kubectl here: {_CURE}", pytrace=False)
        pytest.skip(f"there is no kubectl here; {_CURE}")
    return _built


@cache
def _example() -> str:
    """As JSON: the file's anchors make objects that are one, and here each is its own."""
    files = (Path(__file__).parent / name for name in ("example.yaml", "example_jobs.yaml"))
    return json.dumps([thing for file in files for thing in yaml.load(file.read_text(), yaml.CSafeLoader)])


@pytest.fixture
def example() -> list[dict[str, Any]]:
    """Objects of tests/k8s/example.yaml and example_jobs.yaml, for a test to change."""
    found: list[dict[str, Any]] = json.loads(_example())
    return found
