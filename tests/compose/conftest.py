"""The files that make images and containers, as data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.compose.merging import load, plain

ROOT = Path(__file__).resolve().parents[2]


def load_compose(name: str) -> dict[str, Any]:
    """A compose file before its variables are filled in."""
    loaded: dict[str, Any] = plain(load(ROOT / name))
    return loaded


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def compose() -> dict[str, Any]:
    """docker-compose.yml."""
    return load_compose("docker-compose.yml")


@pytest.fixture(scope="session")
def seaweedfs() -> dict[str, Any]:
    """docker-compose.seaweedfs.yml, which stands on the first."""
    return load_compose("docker-compose.seaweedfs.yml")


@pytest.fixture(scope="session")
def keys() -> dict[str, Any]:
    """docker-compose.keys.yml, which stands on the first."""
    return load_compose("docker-compose.keys.yml")


@pytest.fixture(scope="session")
def dockerfiles() -> dict[str, str]:
    """Text of each service's Dockerfile, by its folder."""
    return {path.parent.name: path.read_text() for path in sorted(ROOT.glob("services/*/Dockerfile"))}
