"""Fault hooks: they fall once, at the named unit, leave a marker, and are refused when misspelt."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
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


def test_a_point_falls_as_often_as_it_is_named(tmp_path: Path) -> None:
    faults = Faults(";".join(f"a.b:unit=1:raise:{tmp_path / name}" for name in ("one", "two")))
    for _ in range(2):
        with pytest.raises(FaultInjected):
            faults.reach("a.b", 1)
    faults.reach("a.b", 1)


@pytest.mark.parametrize(("action", "others"), [("hang", True), ("hang_all", False)])
def test_a_hang_hears_no_signal_and_leaves_other_threads_their_turn_or_not(
    tmp_path: Path, action: str, others: bool
) -> None:
    code = f"""
import pathlib, signal, threading, time
from synfarm.faults import Faults
signal.signal(signal.SIGTERM, lambda *_: pathlib.Path({str(tmp_path / "heard")!r}).touch())
def beat():
    while pathlib.Path({str(tmp_path / "fell")!r}).exists() is False: time.sleep(0.01)
    for number in range(1000):
        pathlib.Path({str(tmp_path / "beat")!r}).write_text(str(number)); time.sleep(0.01)
threading.Thread(target=beat, daemon=True).start()
Faults("a.b:{action}:{tmp_path / "fell"}").reach("a.b")
"""
    child = subprocess.Popen([sys.executable, "-c", code])
    try:
        _until((tmp_path / "fell").exists)
        time.sleep(0.2)  # the other thread may be in the middle of a beat
        before = (tmp_path / "beat").read_text() if (tmp_path / "beat").exists() else ""
        child.send_signal(signal.SIGTERM)
        if others:
            _until(lambda: (tmp_path / "beat").exists() and (tmp_path / "beat").read_text() not in {before, ""})
        else:
            time.sleep(0.3)
            assert ((tmp_path / "beat").read_text() if (tmp_path / "beat").exists() else "") == before
        assert child.poll() is None
        assert not (tmp_path / "heard").exists()
    finally:
        child.kill()
        child.wait()


def _until(seen: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not seen():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_no_faults_by_default_and_misspelt_ones_are_refused() -> None:
    Faults().reach("anything", 1)
    for wrong in ("a.b", "a.b:explode:/tmp/x", "a.b:unit=1:unit=2:kill:/tmp/x", "a.b:unit=x:kill:/tmp/x"):
        with pytest.raises(ValueError, match="not a fault"):
            Faults(wrong)
