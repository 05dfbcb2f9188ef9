"""A stand-in for a cluster's API server, and the settings with which the launcher finds it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fake_kubernetes import NAMESPACE, TOKEN, FakeApi
from jobset_schema import JobSet

from synfarm_trainer.launch.kubernetes.connection import Connection
from synfarm_trainer.launch.kubernetes.settings import KubernetesSettings


@pytest.fixture
def api() -> Iterator[FakeApi]:
    server = FakeApi(JobSet)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def settings(tmp_path: Path) -> KubernetesSettings:
    (tmp_path / "token").write_text(TOKEN + "\n")
    return KubernetesSettings(
        image="synfarm/trainer:1",
        namespace=NAMESPACE,
        token_file=tmp_path / "token",
        ca_file=tmp_path / "none",
        poll_seconds=0.02,
        secret="store",
        runs=2,
    )


@pytest.fixture
def connection(api: FakeApi, settings: KubernetesSettings) -> Iterator[Connection]:
    found = Connection(settings.model_copy(update={"url": api.url}))
    yield found
    found.close()
