"""Prometheus' own tool accepts configuration and rules, and each alert fires and is silent as its tests say."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from tests.observability.conftest import DEPLOY


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "config", "prometheus.yml"),
        ("check", "rules", "alerts.yml"),
        ("test", "rules", "alerts.test.yml"),
    ],
    ids=lambda arguments: "-".join(arguments[:2]),
)
def test_promtool(arguments: tuple[str, ...]) -> None:
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("promtool is not installed (Debian: apt-get install prometheus)")
    done = subprocess.run(
        [tool, *arguments], cwd=DEPLOY / "prometheus", capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
