"""torchrun for real, with exit codes: what ranks leave behind, how they die, when they are asked to go."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from synfarm.local.ports import HeldPorts
from synfarm_trainer.launch.agent import Gang
from synfarm_trainer.launch.codes import FINAL, NOT_COUNTED, ExitCode
from synfarm_trainer.launch.outcome import ExitRecord, outcome_of

RUN = "01hzzzzzzzzzzzzzzzzzzzzzz1"

# Stands for synfarm_trainer.run, which torchrun is told to start: it does what the environment says.
RANK = """
import json, os, signal, sys, time
from pathlib import Path
words = dict(zip(sys.argv[1::2], sys.argv[2::2]))
here = Path(words["--state-dir"]) / "runs" / words["--run-id"]
here.mkdir(parents=True, exist_ok=True)
record = here / f"exit-{int(words['--attempt']):06d}.json"
def leave(reason):
    record.write_text(json.dumps({"reason": reason, "detail": "so it was"}))
    sys.exit(0 if reason in ("completed", "stopped") else 1)
deed = os.environ["DEED"]
asked = []
signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
(here / f"began-{os.environ['RANK']}-of-{os.environ['WORLD_SIZE']}").touch()
all_stop = Path(words["--state-dir"]).parent / "all-stop"
while deed in ("save", "deaf") and not ((asked or all_stop.exists()) and deed == "save"):
    time.sleep(0.02)
if deed == "save" and os.environ["WORLD_SIZE"] != "1":
    # As real ranks do: one that is asked to stop takes the others along.
    all_stop.touch()
if deed == "die":
    os.kill(os.getpid(), signal.SIGKILL)
if deed == "fault":
    os.kill(os.getpid(), signal.SIGSEGV)
if deed == "mute":
    sys.exit(3)
leave("stopped" if deed == "save" else deed)
"""


@pytest.fixture
def started(tmp_path: Path) -> Iterator[dict[str, subprocess.Popen[str]]]:
    children: dict[str, subprocess.Popen[str]] = {}
    yield children
    for child in children.values():
        child.kill()
        child.wait()


def _start(folder: Path, deed: str, *words: str) -> subprocess.Popen[str]:
    stand_in = folder / "stand_in" / "synfarm_trainer_rank.py"
    stand_in.parent.mkdir(parents=True, exist_ok=True)
    stand_in.write_text(RANK)
    code = (
        "import os, sys; from synfarm_trainer.launch import __main__ as entry, agent\n"
        "real = agent.Gang.arguments\n"
        "agent.Gang.arguments = lambda gang: [w.replace('synfarm_trainer.run', 'synfarm_trainer_rank')"
        " for w in real(gang)]\n"
        "def one(attempt, deed, words):\n"
        "    os.environ['DEED'] = deed\n"
        "    return int(entry.main([*words, '--attempt', str(attempt)]))\n"
        "words, deeds = sys.argv[2:], sys.argv[1].split(',')\n"
        "if len(deeds) == 1: sys.exit(one(4, deeds[0], words))\n"
        "for n, deed in enumerate(deeds):\n"
        "    print(one(n, deed, [w + f'-{n}' if w.endswith('/message') else w for w in words]), flush=True)\n"
    )
    path = os.pathsep.join([str(stand_in.parent), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", code, deed, "--run-id", RUN, "--state-dir", str(folder), *words]
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def _until(condition: Callable[[], object], child: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert child.poll() is None, child.stderr.read() if child.stderr else ""
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_exit_code_says_why(tmp_path: Path, started: dict[str, subprocess.Popen[str]]) -> None:
    ends = [
        ("nan", ExitCode.NAN, "so it was"),
        ("die", ExitCode.LOST_RANK, "ended from outside: rank 0 by signal 9"),
        ("fault", ExitCode.CRASH, "rank 0 ended with signal 11 and no exit record"),
        ("mute", ExitCode.CRASH, "rank 0 ended with status 3 and no exit record"),
        ("completed", ExitCode.COMPLETED, "so it was"),
    ]
    message = tmp_path / "message"
    words = ["--ranks", "1", "--message", str(message)]
    started["one"] = child = _start(tmp_path, ",".join(deed for deed, *_ in ends), *words)
    output, errors = child.communicate(timeout=240)
    assert output.split() == [str(int(code)) for _, code, _ in ends], errors
    for attempt, (_, code, told) in enumerate(ends):
        record = json.loads((tmp_path / "runs" / RUN / f"exit-{attempt:06d}.json").read_text())
        assert (record["reason"], record["detail"]) == (code.reason, told), "the service reads it, too"
        # Of a crash nothing: Kubernetes then tells the end of the log.
        found = tmp_path / f"message-{attempt}"
        assert found.exists() == (code is not ExitCode.CRASH)
        assert not found.exists() or json.loads(found.read_text()) == {"reason": code.reason, "detail": told}


@pytest.mark.parametrize(
    ("deed", "code"),
    [("save", ExitCode.STOPPED), pytest.param("deaf", ExitCode.TERMINATED, marks=pytest.mark.long)],
)
def test_a_start_that_is_asked_to_go_is_not_counted(
    tmp_path: Path, started: dict[str, subprocess.Popen[str]], deed: str, code: ExitCode
) -> None:
    started["one"] = child = _start(tmp_path, deed, "--ranks", "1", "--grace", "1")
    _until((tmp_path / "runs" / RUN / "began-0-of-1").exists, child)
    child.send_signal(signal.SIGTERM)
    errors = child.communicate(timeout=120)[1]
    assert child.returncode == code, errors
    assert code in NOT_COUNTED


@pytest.mark.long
def test_two_machines_meet_at_the_first(tmp_path: Path, started: dict[str, subprocess.Popen[str]]) -> None:
    held = HeldPorts(1)
    words = ["--ranks", "1", "--nodes", "2", "--endpoint", f"127.0.0.1:{held.numbers[0]}", "--join-seconds", "60"]
    # The second comes first, and waits.
    for node in ("1", "0"):
        started[node] = _start(tmp_path / node, "completed", *words, "--node", node)
    for node, child in started.items():
        errors = child.communicate(timeout=120)[1]
        assert child.returncode == ExitCode.COMPLETED, errors
        assert list((tmp_path / node / "runs" / RUN).glob("began-*-of-2"))


@pytest.mark.long
def test_one_machine_that_is_asked_to_leave_takes_the_others_along(
    tmp_path: Path, started: dict[str, subprocess.Popen[str]]
) -> None:
    held = HeldPorts(1)
    words = ["--ranks", "1", "--nodes", "2", "--endpoint", f"127.0.0.1:{held.numbers[0]}", "--join-seconds", "60"]
    for node in ("0", "1"):
        started[node] = _start(tmp_path / node, "save", *words, "--node", node)
    for node, child in started.items():
        here = tmp_path / node / "runs" / RUN
        _until(lambda here=here: list(here.glob("began-*-of-2")), child)
    started["1"].send_signal(signal.SIGTERM)
    for child in started.values():
        # torchrun alone waits 300 s for the agent that has left.
        errors = child.communicate(timeout=120)[1]
        assert child.returncode == ExitCode.STOPPED, errors


def test_every_start_has_a_rendezvous_of_its_own(tmp_path: Path) -> None:
    commands = [Gang(RUN, attempt, tmp_path, ranks=2).arguments() for attempt in (0, 1)]
    assert {command[command.index("--rdzv-id") + 1] for command in commands} == {f"{RUN}-0", f"{RUN}-1"}


def test_every_reason_has_a_code_and_an_outcome() -> None:
    reasons = set(ExitRecord.model_fields["reason"].annotation.__args__)
    assert reasons == {code.reason for code in ExitCode if code is not ExitCode.USAGE}
    endings = {code: outcome_of(code).ending for code in ExitCode}
    assert {code for code in ExitCode if endings[code] == "failed"} == set(FINAL)
    assert {code for code in ExitCode if endings[code] == "stopped"} == set(NOT_COUNTED)
    assert len({int(code) for code in ExitCode}) == len(ExitCode)


def test_the_page_tells_the_codes() -> None:
    page = Path(__file__).parents[3] / "services" / "trainer" / "README.md"
    rows = re.findall(r"^\| (\d+) \| `(\w+)`", page.read_text(), re.MULTILINE)
    assert {(int(code), reason) for code, reason in rows} == {(int(code), code.reason) for code in ExitCode}
