"""Fault hooks: they fall once, at the named unit, leave a marker, and are refused when misspelt."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from synfarm.faults import FaultInjected, Faults


def test_falls_once_over_all_processes_and_only_at_its_unit(tmp_path: Path) -> None:
    marker = tmp_path / "fell"
    spec = f"render.after_claim:unit=3:raise:{marker}"
    Faults(spec).reach("render.after_claim", 2)
    Faults(spec).reach("render.before_commit", 3)
    assert not marker.exists()
    with pytest.raises(FaultInjected, match="unit=3"):
        Faults(spec).reach("render.after_claim", 3)
    assert marker.read_text().endswith("render.after_claim 3")
    Faults(spec).reach("render.after_claim", 3)


def test_kill_is_a_real_sigkill(tmp_path: Path) -> None:
    marker = tmp_path / "fell"
    code = f"from synfarm.faults import Faults; Faults('a.b:kill:{marker}').reach('a.b'); raise SystemExit(7)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    assert marker.exists()
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 7


def test_no_faults_by_default_and_misspelt_ones_are_refused() -> None:
    Faults().reach("anything", 1)
    for wrong in ("a.b", "a.b:explode:/tmp/x", "a.b:unit=1:unit=2:kill:/tmp/x", "a.b:unit=x:kill:/tmp/x"):
        with pytest.raises(ValueError, match="not a fault"):
            Faults(wrong)
