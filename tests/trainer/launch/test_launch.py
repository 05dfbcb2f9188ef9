"""The launcher: marks find exactly a run's processes, nothing outlives its starter, exits are told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from synfarm_trainer.launch.files import RunFiles
from synfarm_trainer.launch.leftovers import MARK, end_marked, mark_of, marked
from synfarm_trainer.launch.local import LocalLauncher
from synfarm_trainer.launch.outcome import last_lines, read_outcome

RUN, OTHER = "0" * 26, "1" * 26

# A launcher whose rank sits in a session of its own, as torchrun's do, and is deaf to SIGTERM.
TREE = """
import signal, subprocess, sys, time
rank = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
subprocess.Popen([sys.executable, "-c", rank], start_new_session=True)
time.sleep(600)
"""


def _until(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


@pytest.fixture
def launcher(tmp_path: Path):
    yield LocalLauncher(RunFiles(tmp_path), command=lambda *_: [sys.executable, "-c", TREE])
    for run in (RUN, OTHER):
        end_marked(mark_of(tmp_path, run))


def test_kill_reaches_ranks_in_sessions_of_their_own_and_no_other_run(launcher, tmp_path: Path) -> None:
    first, second = launcher.start(RUN, 0, 1), launcher.start(OTHER, 0, 1)
    assert _until(lambda: len(marked(mark_of(tmp_path, RUN))) == 2)
    assert _until(lambda: len(marked(mark_of(tmp_path, OTHER))) == 2)
    first.kill()
    assert marked(mark_of(tmp_path, RUN)) == []
    outcome = first.poll()
    assert outcome is not None
    assert outcome.reason == "the training processes ended with signal 9 and left no exit record"
    assert len(marked(mark_of(tmp_path, OTHER))) == 2
    assert second.poll() is None
    second.kill()


def test_clear_ends_what_a_dead_agent_left(launcher, tmp_path: Path) -> None:
    child = launcher.start(RUN, 0, 1)
    assert _until(lambda: len(marked(mark_of(tmp_path, RUN))) == 2)
    os.kill(child.pid, signal.SIGKILL)
    assert _until(lambda: child.poll() is not None)
    assert len(marked(mark_of(tmp_path, RUN))) == 1, "the rank of this test does not ask for a parent-death signal"
    assert launcher.clear(RUN) == 1
    assert marked(mark_of(tmp_path, RUN)) == []
    assert launcher.clear(RUN) == 0


def test_the_agent_dies_with_a_service_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from synfarm_trainer.launch.files import RunFiles\n"
        "from synfarm_trainer.launch.local import LocalLauncher\n"
        "sleep = [sys.executable, '-c', 'import time; time.sleep(600)']\n"
        f"LocalLauncher(RunFiles(Path({str(tmp_path)!r})), command=lambda *_: sleep).start({RUN!r}, 0, 1)\n"
        "time.sleep(600)\n"
    )
    starter = subprocess.Popen([sys.executable, "-c", code])
    try:
        # Not only started, but past the exec of its own command.
        def asleep() -> bool:
            pids = marked(mark_of(tmp_path, RUN))
            # In the middle of its exec a process has no command line at all.
            line = Path(f"/proc/{pids[0]}/cmdline").read_bytes().split(b"\0") if pids else []
            return line[2:3] == [b"import time; time.sleep(600)"]

        assert _until(asleep)
        starter.kill()
        starter.wait()
        assert _until(lambda: not marked(mark_of(tmp_path, RUN)))
    finally:
        starter.kill()
        starter.wait()
        end_marked(mark_of(tmp_path, RUN))


def test_a_mark_is_matched_whole(tmp_path: Path) -> None:
    longer = subprocess.Popen(["sleep", "60"], env={**os.environ, MARK: mark_of(tmp_path, RUN) + "0"})
    try:
        assert end_marked(mark_of(tmp_path, RUN)) == 0
        assert longer.poll() is None
    finally:
        longer.kill()
        longer.wait()


@pytest.mark.parametrize(
    ("record", "status", "ending", "words"),
    [
        ('{"reason": "completed"}', 0, "completed", None),
        ('{"reason": "completed"}', -9, "completed", None),
        ('{"reason": "stopped"}', 0, "stopped", None),
        ('{"reason": "nan", "detail": "at step 3"}', 1, "failed", "nan: at step 3"),
        ('{"reason": "data"}', 1, "failed", "data"),
        ('{"reason": "config"}', 1, "failed", "config"),
        ('{"reason": "crash", "detail": "boom"}', 1, "crashed", "crash: boom"),
        ('{"reason": "fenced"}', 1, "crashed", "fenced"),
        ('{"reason": "lost_rank", "detail": "rank 1"}', 81, "crashed", "lost_rank: rank 1"),
        ('{"reason": "terminated"}', 143, "stopped", None),
        (None, 81, "crashed", "lost_rank: the training processes ended with status 81"),
        (None, -9, "crashed", "signal 9"),
        (None, 0, "crashed", "no exit record"),
        ("{", 0, "crashed", "damaged"),
    ],
)
def test_outcomes(tmp_path: Path, record: str | None, status: int, ending: str, words: str | None) -> None:
    path = tmp_path / "exit.json"
    if record is not None:
        path.write_text(record)
    outcome = read_outcome(path, status)
    assert outcome.ending == ending
    assert words is None or words in (outcome.reason or "")


def test_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    assert last_lines(log) == ""
    log.write_bytes(b"\xff\n" + b"".join(b"line %d\n" % n for n in range(50_000)))
    assert last_lines(log, count=2) == "line 49998\nline 49999"
