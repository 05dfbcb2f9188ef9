"""The reduced demo, as a user runs it, every service real; and beside it a second whole stack, which is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from synfarm.cli.demo.summary import DemoSummary
from synfarm.cli.stack_status import StackStatus
from synfarm.contracts.views import JobPage, SamplePage
from synfarm.knn import knn_history
from synfarm.local.state import StackState

COMMAND = (sys.executable, "-m", "synfarm.cli")
ENV = {name: value for name, value in os.environ.items() if not name.startswith("SYNFARM_")}


def children_in(folder: Path) -> list[str]:
    """Command lines of living processes that name the folder, which the servers of its stack do."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # It ended while we looked.
        if str(folder) in command:
            found.append(command)
    return found


def synfarm(*arguments: str | Path, code: int = 0) -> str:
    """Run the command; its stdout."""
    words = [str(word) for word in arguments]
    done = subprocess.run([*COMMAND, *words], check=False, capture_output=True, text=True, timeout=400, env=ENV)
    assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    assert "Traceback" not in done.stderr
    return done.stdout


def logs_of(folder: Path) -> str:
    logs = "\n".join(f"== {log.name}\n{log.read_text()[-1500:]}" for log in sorted(folder.glob("logs/*.log")))
    return logs[-12000:]


def use_and_kill(folder: Path, work: Path) -> None:
    """What a user does with a stack of their own; then its supervisor dies without a word."""
    here = ("--data-dir", folder)
    state = StackState.from_bytes(synfarm("up", "--json", *here))
    job = synfarm("jobs", "submit", "-c", "dog", "-c", "apple", "--captions", "8", "--size", "64", "-q", *here).strip()
    lines = synfarm("jobs", "watch", job, "--json", *here).splitlines()
    assert json.loads(lines[-1])["state"] == "completed"
    assert [view.job for view in JobPage.from_bytes(synfarm("jobs", "list", "--json", *here)).items] == [job]

    page = SamplePage.from_bytes(synfarm("samples", job, "-n", "2", "-o", work / "samples", "--json", *here))
    first = page.items[0].caption_id
    synfarm("redraw", first, "1", "-o", work / "again.jpg", *here)
    assert (work / "again.jpg").read_bytes() == (work / "samples" / f"{first}.1.jpg").read_bytes()
    synfarm("report", job, "-o", work / "report.html", *here)
    assert job in (work / "report.html").read_text()
    kinds = {worker["kind"] for worker in json.loads(synfarm("workers", "--json", *here))["items"]}
    assert kinds == {"caption", "render"}

    status = StackStatus.from_bytes(synfarm("status", "--json", *here))
    assert {entry.name: entry.state for entry in status.processes} == dict.fromkeys(
        ("redis", "s3", "llm-server", "caption-api", "caption-worker", "render-worker", "trainer"), "ready"
    )
    assert status.pid == state.pid
    assert status.problem is None
    os.kill(state.pid, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while children_in(folder) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert children_in(folder) == []
    assert (folder / "stack.json").exists(), "nobody was left to remove it"
    synfarm("status", *here, code=3)
    synfarm("jobs", "list", *here, code=3)
    assert "start:" in synfarm("logs", "caption-api", "-n", "999", *here)
    synfarm("down", *here)
    assert not (folder / "stack.json").exists()


@pytest.mark.integration
@pytest.mark.chaos
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_reduced_demo_beside_a_stack_that_is_killed(tmp_path: Path) -> None:
    folder, other = tmp_path / "demo", tmp_path / "other"
    (tmp_path / "mine.txt").write_text("dog\ncat\napple\ncar\n")
    options = ("--concepts", tmp_path / "mine.txt", "--captions", "48", "--steps", "20", "--data-dir", folder)
    up = subprocess.Popen([*COMMAND, "up", "--detach", "--data-dir", str(other)], env=ENV)
    with (tmp_path / "out").open("w") as out, (tmp_path / "err").open("w") as err:
        words = [str(word) for word in options]
        demo = subprocess.Popen([*COMMAND, "demo", "--json", *words], stdout=out, stderr=err, env=ENV)
    try:
        assert up.wait(400) == 0, logs_of(other)
        use_and_kill(other, tmp_path)
        demo.wait(400)
    finally:
        for process in (up, demo):
            process.terminate()
            process.wait()
    told = (tmp_path / "err").read_text()
    assert demo.returncode == 0, f"{told[-3000:]}\n{logs_of(folder)}"

    summary = DemoSummary.from_bytes((tmp_path / "out").read_bytes())
    assert summary.job_state == "completed"
    assert summary.captions_planned == 52
    assert summary.captions + summary.empty == summary.captions_planned
    assert summary.captions >= 46
    assert summary.images == 4 * summary.captions
    assert 0 < summary.acceptance <= 1
    assert summary.draws >= summary.captions_planned
    assert summary.steps == 20
    history = knn_history(summary.evals)
    assert history is not None
    assert history.before is not None
    assert history.last_step == 20
    assert set(history.floors) == {"raw pixels", "colour histogram"}
    for part in ("images/s", "step 20/20", "k-NN before", "k-NN after", "acceptance", "captions and images"):
        assert part in told
    assert children_in(folder) == []
    assert not (folder / "stack.json").exists()
    report = folder / "report.html"
    assert summary.report == report
    page = report.read_text()
    assert summary.job in page
    assert "<html" in page

    report.unlink()
    again = synfarm("demo", "--json", *options)
    assert DemoSummary.from_bytes(again) == summary, "shown again, not made again"
    assert report.read_text() == page
