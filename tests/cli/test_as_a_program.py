"""The command as a process: what it loads, pipes that close, Ctrl-C, terminals, completion."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from synfarm.local.folder import StackFolder

COMMAND = (sys.executable, "-m", "synfarm.cli")
JOB = "01k" + "0" * 22 + "1"


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SYNFARM_")}
    return {**kept, **more}


def test_help_and_completion_load_no_library_that_they_do_not_need() -> None:
    code = """
import sys
from typer.testing import CliRunner
from synfarm.cli.app import app
for line in ("", "--help", "jobs submit --help", "render compare --help", "demo --help", "--version"):
    CliRunner().invoke(app, line.split())
heavy = {"torch", "numpy", "celery", "kombu", "redis", "fastapi", "httpx", "minio", "asyncio", "structlog"}
sys.stdout.write(" ".join(sorted(heavy & set(sys.modules))))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment())
    assert done.stdout == ""


def test_help_tells_the_exit_codes_and_every_command() -> None:
    done = subprocess.run(
        [*COMMAND, "--help"], capture_output=True, text=True, check=True, env=environment(COLUMNS="99")
    )
    farm = ("demo", "up", "down", "status", "logs", "render")
    for name in (*farm, "jobs", "runs", "samples", "redraw", "report", "workers"):
        assert f"│ {name} " in done.stdout
    assert "Exit codes: 0 done · 1 the job, run or demo failed" in done.stdout
    assert "--install-completion" in done.stdout


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_streams_that_the_shell_has_closed_go_to_nowhere(closed: str) -> None:
    command = f"{' '.join(COMMAND)} backgrounds list {closed}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False, env=environment())
    assert done.returncode == 0
    assert "Traceback" not in done.stderr


def test_shells_can_complete() -> None:
    completing = environment(_SYNFARM_COMPLETE="complete_bash", COMP_WORDS="synfarm jobs su", COMP_CWORD="2")
    program = str(Path(sys.executable).with_name("synfarm"))
    done = subprocess.run([program], capture_output=True, text=True, env=completing, check=False)
    assert done.stdout.split() == ["submit"]


@pytest.mark.parametrize("arguments", [("logs", "-n", "9999"), ("logs", "-f", "--json")])
def test_a_reader_that_goes_away_ends_it_quietly(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    with StackFolder(tmp_path) as folder:
        folder.logs.mkdir()
        log = folder.logs / "redis.log"
        log.write_text("x" * 80 + "\n" + "y\n" * 9000)
    program = [*COMMAND, *arguments, "--data-dir", str(tmp_path)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        deadline = time.monotonic() + 30
        while process.poll() is None and time.monotonic() < deadline:
            with log.open("a") as more:
                more.write("z\n" * 100)
            time.sleep(0.05)
        assert process.poll() == 141
        assert process.stderr.read() == b""


@pytest.mark.integration
def test_a_reader_that_goes_away_from_a_table(farm: Any) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [*COMMAND, "jobs", "list"], stdout=write, stderr=subprocess.PIPE, env=environment(**farm.env), check=False
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


def _interrupted(command: list[str], when: bytes, env: dict[str, str]) -> tuple[int, str]:
    """Start it, wait for words on stderr, press Ctrl-C; exit code and stderr."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env) as process:
        assert process.stderr is not None
        told = b""
        while when not in told:
            line = process.stderr.readline()
            assert line, told
            told += line
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=60)
    return process.returncode, (told + rest).decode()


@pytest.mark.integration
def test_ctrl_c_stops_watching_and_not_the_job(farm: Any) -> None:
    job = farm.run("jobs", "submit", "-c", "dog", "-q").stdout.strip()
    code, told = _interrupted([*COMMAND, "jobs", "watch", job], b"captions 0/10", environment(**farm.env))
    assert code == 130
    assert f"stopped watching; the job goes on: synfarm jobs watch {job}" in told
    assert "Traceback" not in told
    assert farm.run("jobs", "cancel", job).exit_code == 0, "it was still there to be cancelled"


def _alive(folder: Path) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if str(folder) in line:
                found.append(line)
    return found


@pytest.mark.integration
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("up",), "interrupted; nothing runs any more"),
        (("up", "--detach"), "interrupted; nothing runs any more"),
        (("demo",), "start it again to go on where it was"),
    ],
    ids=["up", "up-detach", "demo"],
)
def test_ctrl_c_while_the_farm_starts_leaves_nothing_behind(
    tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    folder = tmp_path / "farm"
    # The first process is ready, others are starting.
    command = [*COMMAND, *arguments, "--data-dir", str(folder)]
    if arguments == ("demo",):
        command = ["/bin/sh", "-c", 'exec "$@" >&2', "sh", *command]
    code, told = _interrupted(command, b"redis: ready", environment())
    assert code == 130, told
    assert says in told
    assert "Traceback" not in told
    assert _alive(folder) == []
    assert not (folder / "stack.json").exists()


@pytest.mark.integration
@pytest.mark.parametrize(("more", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colours_are_for_terminals_alone(farm: Any, more: dict[str, str], coloured: bool) -> None:
    main, terminal = pty.openpty()
    env = environment(**farm.env, **({"TERM": "xterm-256color"} | more))
    done = subprocess.run([*COMMAND, "jobs", "show", JOB], stdout=terminal, stderr=subprocess.PIPE, env=env, check=True)
    os.close(terminal)
    shown = os.read(main, 1 << 16)
    os.close(main)
    assert b"completed" in shown
    assert (b"\x1b[32m" in shown) is coloured
    assert done.stderr == b""
