"""The file of `synfarm backgrounds make`: what is in it after a kill, a Ctrl-C, a full disk and a second command."""

from __future__ import annotations

import asyncio
import errno
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, cast

import pytest
from rich.console import Console

from synfarm.cli.backgrounds import filling, make, place, stored
from synfarm.contracts.concepts import Concept
from synfarm.sdk import AsyncClient

MAKE = ("backgrounds", "make")


def lists(file: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = json.loads(file.read_text())
    return found


@pytest.mark.integration
def test_a_kill_keeps_what_was_answered(farm: Any, tmp_path: Path) -> None:
    names, out = [f"thing {i}" for i in range(60)], tmp_path / "out.json"
    command = [sys.executable, "-m", "synfarm.cli", *MAKE, *names, "-n", "80", "--at-once", "1", "-o", str(out)]
    process = subprocess.Popen(command, env={**os.environ, **farm.env}, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (out.exists() and len(lists(out)) > 2):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = lists(out)
    assert 2 < len(before) < len(names)
    names = list(before)
    done = farm.run(*MAKE, *names, "-n", "60", "-o", out)
    assert done.exit_code == 0, done.output
    for name, settings in lists(out).items():
        assert settings[: len(before[name])] == before[name]


@pytest.mark.integration
def test_ctrl_c_ends_it_in_good_order(farm: Any, tmp_path: Path) -> None:
    names, out = [f"thing {i}" for i in range(200)], tmp_path / "out.json"
    command = [sys.executable, "-m", "synfarm.cli", *MAKE, *names, "-n", "80", "-o", str(out)]
    with subprocess.Popen(command, env={**os.environ, **farm.env}, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "   200 concepts, 4 at a time; the first answers take a while\n"
        process.stderr.readline()
        process.send_signal(signal.SIGINT)
        told = process.stderr.read()
    assert process.returncode == 130
    assert f"interrupted; what was answered is in {out}, and the same command goes on." in told
    assert lists(out)


@pytest.mark.integration
def test_a_farm_without_its_language_model(farm: Any, run: Any, tmp_path: Path) -> None:
    done = run(*MAKE, "dog", "-o", tmp_path / "x.json", "--url", "http://127.0.0.1:1")
    assert done.exit_code == 3
    assert "1 concept, 1 at a time; the first answers take a while" in done.stderr
    assert "It ended early" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.integration
def test_two_at_once_do_not_lose_each_others_answers(farm: Any, tmp_path: Path) -> None:
    names, out = [f"thing {i}" for i in range(500)], tmp_path / "out.json"
    link = tmp_path / "same.json"
    link.symlink_to(out.name)
    command = [sys.executable, "-m", "synfarm.cli", *MAKE, *names, "-n", "80", "--at-once", "1", "-o", str(out)]
    with subprocess.Popen(command, env={**os.environ, **farm.env}, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        process.stderr.readline()
        for name in (out, link):
            second = farm.run(*MAKE, "dog", "-n", "3", "-o", name)
            assert second.exit_code == 2, second.output
            assert f"{name}: another `synfarm backgrounds make` writes it; wait for its end" in second.stderr
        assert farm.run(*MAKE, "dog", "-n", "3", "-o", tmp_path / "other.json").exit_code == 0
        process.kill()
    assert (tmp_path / ".out.json.lock").exists(), "it was killed: the kernel let go of the lock, not the command"
    assert farm.run(*MAKE, "dog", "-n", "3", "-o", out).exit_code == 0
    assert len(lists(out)["dog"]) == 3
    assert not (tmp_path / ".out.json.lock").exists()


@pytest.mark.integration
def test_a_folder_that_cannot_be_written_is_told_before_anything_is_asked(farm: Any) -> None:
    done = farm.run(*MAKE, "dog", "-n", "3", "-o", "/proc/x.json")
    assert done.exit_code == 2, done.output
    assert "/proc/x.json: cannot be written there (" in done.stderr
    assert "at a time" not in done.stderr


@pytest.mark.integration
def test_what_could_not_be_stored_is_not_said_to_be(farm: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with monkeypatch.context() as patch:
        patch.setattr(stored, "write_whole", full)
        done = farm.run(*MAKE, "dog", "-n", "3", "-o", tmp_path / "x.json")
    assert (done.exit_code, "No space left" in done.stderr) == (1, True), done.output
    assert "what was answered" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.integration
def test_nothing_written_is_no_success(farm: Any, tmp_path: Path) -> None:
    out = tmp_path / "x.json"
    for more in ((), ("--json",)):
        done = farm.run(*MAKE, "owl", "-n", "3", "-o", out, *more)
        assert (done.exit_code, f"nothing was written to {out}" in done.stderr) == (1, True), done.output
    assert json.loads(done.stdout)["items"][0]["settings"] == 0
    assert not out.exists()


async def test_a_heart_beats_while_there_is_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filling, "_BEAT", 0.001)
    beats: list[str] = []
    third = asyncio.Event()

    def beat(line: str) -> None:
        beats.append(line)
        if len(beats) == 3:
            third.set()

    class Silent:
        async def make_backgrounds(self, request: object) -> None:
            await asyncio.wait_for(third.wait(), 60)
            raise ConnectionError

    file, wish, told = stored.BackgroundFile(tmp_path / "x.json"), filling.Wish(3, 4, {}), list[str]()
    concepts = [Concept(name=name) for name in ("dog", "cat", "owl")]
    with pytest.raises(ConnectionError):
        await filling.fill(cast(AsyncClient, Silent()), concepts, file, wish, at_once=2, told=told.append, beat=beat)
    assert beats[2] == "[0/3] asking for 0s, no answer yet"
    assert told == ["3 concepts, 2 at a time; the first answers take a while"]


def test_the_heart_beats_on_terminals_alone() -> None:
    for terminal in (True, False):
        console = Console(force_terminal=terminal, file=io.StringIO(), width=80)
        with make._heartbeat(console) as beat:
            assert (beat is not None) is terminal
            if beat is not None:
                beat("[0/1] asking")
        assert isinstance(console.file, io.StringIO)
        assert ("[0/1] asking" in console.file.getvalue()) is terminal


def test_a_file_that_takes_long_to_write_is_written_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, written = [100.0], 0

    def slow(path: Path, data: bytes) -> None:
        nonlocal written
        written += 1
        now[0] += 2.0
        path.write_bytes(data)

    monkeypatch.setattr(stored, "write_whole", slow)
    file = stored.BackgroundFile(tmp_path / "x.json", clock=lambda: now[0])
    for number in range(10):
        file.add("dog", [f"room {number}"])
    assert (written, lists(file.path)) == (1, {"dog": ["room 0"]})
    now[0] += 21.0
    file.add("cat", ["sofa"])
    assert written == 2
    file.add("owl", ["barn"])
    file.save()
    file.save()
    assert written == 3
    assert lists(file.path)["owl"] == ["barn"]
    assert len(file.of("DOG")) == 10


def test_a_lock_that_the_command_before_has_just_removed_is_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def late(handle: int, operation: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            (tmp_path / ".x.json.lock").unlink()

    monkeypatch.setattr(place.fcntl, "flock", late)
    with place.alone_with(tmp_path / "x.json"):
        assert (calls, (tmp_path / ".x.json.lock").exists()) == (2, True)
