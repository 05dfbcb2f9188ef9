"""The supervisor against small real children: order, restarts, the budget, and that nothing is left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from synfarm.local.process import ProcessSpec, ServiceGaveUp, start_levels
from synfarm.local.supervisor import Supervisor

ENV = {"PATH": os.environ["PATH"]}


def child(name: str, code: str = "import time; time.sleep(600)", **fields: object) -> ProcessSpec:
    return ProcessSpec(name=name, command=(sys.executable, "-I", "-S", "-c", code), env=ENV, **fields)  # type: ignore[arg-type]


class FileProbe:
    """Ready when a file exists."""

    def __init__(self, path: Path) -> None:
        self.path = path

    async def __call__(self) -> str | None:
        return None if self.path.exists() else f"{self.path.name} is missing"


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


async def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what another process does sets no event here
            await asyncio.sleep(0.02)


def until_blocking(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


async def test_starts_in_order_and_stops_in_reverse(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    code = f"""
import pathlib, signal, sys, time
def note(what):
    with open({str(journal)!r}, "a") as file: file.write(what + " ")
def stop(*_):
    note("-" + sys.argv[1]); sys.exit(0)
signal.signal(signal.SIGTERM, stop)
note("+" + sys.argv[1])
pathlib.Path({str(tmp_path)!r}, "ready-" + sys.argv[1]).touch()
time.sleep(600)
"""

    def spec(name: str, *after: str) -> ProcessSpec:
        command = (sys.executable, "-I", "-S", "-c", code, name)
        return ProcessSpec(name, command, ENV, after=after, probe=FileProbe(tmp_path / f"ready-{name}"))

    async with Supervisor([spec("c", "b"), spec("b", "a"), spec("a")], tmp_path / "logs"):
        assert journal.read_text().split() == ["+a", "+b", "+c"]
    assert journal.read_text().split() == ["+a", "+b", "+c", "-c", "-b", "-a"]


async def test_restarts_a_dead_child_and_waits_for_what_it_needs(tmp_path: Path) -> None:
    async with Supervisor([child("base"), child("leaf", after=("base",))], tmp_path) as supervisor:
        first = supervisor.pid("leaf")
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await until(lambda: supervisor.pid("leaf") not in {None, first})
        assert supervisor.restarted == {"leaf": 1}
        assert supervisor.log_of("leaf").read_text().count("start:") == 2


async def test_gives_up_in_one_sentence_and_stops_the_others(tmp_path: Path) -> None:
    spec = child("fragile", "raise SystemExit(3)", cure="install what it misses")
    supervisor = Supervisor([child("steady"), spec], tmp_path, restarts=2, window=60.0)

    async def run() -> None:
        async with supervisor:
            await supervisor.guard(asyncio.sleep(60))

    with pytest.raises(ServiceGaveUp) as caught:
        await run()
    message = str(caught.value)
    assert message == (
        f"fragile died 3 times within 60 s (last: exit code 3); its log is {tmp_path / 'fragile.log'}; "
        "install what it misses."
    )
    assert supervisor.log_of("fragile").read_text().count("start:") == 3, "the first start and two restarts"
    assert supervisor.pid("steady") is None


async def test_deaths_outside_the_window_do_not_count(tmp_path: Path) -> None:
    spec = child("tired", "import time; time.sleep(0.3)")
    async with Supervisor([spec], tmp_path, restarts=1, window=0.4) as supervisor:
        await supervisor.guard(until(lambda: supervisor.restarted.get("tired", 0) >= 4))


async def test_never_ready_is_told(tmp_path: Path) -> None:
    spec = child("mute", probe=FileProbe(tmp_path / "never"), ready_timeout=0.5)
    with pytest.raises(ServiceGaveUp, match=r"mute was not ready after 0.5 s \(never is missing\); its log is"):
        async with Supervisor([spec], tmp_path):
            pytest.fail("must not come up")


async def test_a_deaf_child_and_its_own_children_are_killed(tmp_path: Path) -> None:
    code = f"""
import pathlib, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path({str(tmp_path)!r}, "grandchild").write_text(str(grandchild.pid))
time.sleep(600)
"""
    spec = child("deaf", code, probe=FileProbe(tmp_path / "grandchild"), stop_timeout=0.3)
    async with Supervisor([spec], tmp_path) as supervisor:
        pid = supervisor.pid("deaf")
        await until(lambda: (tmp_path / "grandchild").read_text() != "")
    grandchild = int((tmp_path / "grandchild").read_text())
    assert pid is not None
    assert not alive(pid)
    await until(lambda: not alive(grandchild))


PARENT = """
import asyncio, os, pathlib, sys
from synfarm.local.process import ProcessSpec
from synfarm.local.supervisor import Supervisor
folder = pathlib.Path(sys.argv[1])
code = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).touch(); time.sleep(600)"
class Runs:  # Past the launcher: a child still inside it would end by itself when its parent is gone.
    def __init__(self, mark): self.mark = mark
    async def __call__(self): return None if self.mark.exists() else "not there yet"
def spec(name):
    mark = folder / f"{name}-runs"
    command = (sys.executable, "-I", "-S", "-c", code, str(mark))
    return ProcessSpec(name, command, dict(os.environ), probe=Runs(mark))
specs = [spec(name) for name in ("one", "two")]
async def main():
    async with Supervisor(specs, folder) as supervisor:
        (folder / "new").write_text(f"{supervisor.pid('one')} {supervisor.pid('two')}")
        (folder / "new").rename(folder / "pids")
        await asyncio.sleep(600)
asyncio.run(main())
"""


@pytest.mark.chaos
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=["kill-9", "ctrl-c"])
def test_children_die_with_the_supervisor(tmp_path: Path, how: signal.Signals) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], stderr=subprocess.DEVNULL)
    try:
        until_blocking((tmp_path / "pids").exists)
        pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
        assert all(map(alive, pids))
        parent.send_signal(how)
        parent.wait(30)
        until_blocking(lambda: not any(map(alive, pids)), 10)
    finally:
        parent.kill()
        parent.wait()


async def test_refuses_to_run_outside_the_main_thread(tmp_path: Path) -> None:
    async def start() -> None:
        async with Supervisor([child("one")], tmp_path):
            pass

    with pytest.raises(RuntimeError, match="main thread"):
        await asyncio.to_thread(asyncio.run, start())


def test_order_of_start_is_checked() -> None:
    assert [[s.name for s in level] for level in start_levels([child("b", after=("a",)), child("a")])] == [["a"], ["b"]]
    with pytest.raises(ValueError, match="wait for each other"):
        start_levels([child("a", after=("b",)), child("b", after=("a",))])
    with pytest.raises(ValueError, match="must differ"):
        start_levels([child("a"), child("a")])
