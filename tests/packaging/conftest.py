"""The wheel of the project, as a user gets it, and the pip that installs it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Pip = Callable[..., None]

ROOT = Path(__file__).resolve().parents[2]


def _pip(*arguments: str | Path) -> None:
    # This environment's pip works on the new one (--python), which then needs no pip of its own.
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", *map(str, arguments)]
    # No bound but the test's own: with torch, pip alone takes longer than most tests may where the machine is busy.
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"


@pytest.fixture(scope="session")
def pip() -> Pip:
    """Run pip with these arguments; its output is in the failure."""
    return _pip


@pytest.fixture(scope="session")
def wheel(pip: Pip, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel, built once."""
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ".")
    (built,) = folder.glob("synfarm-*.whl")
    return built
