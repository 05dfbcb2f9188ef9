"""A stack seen from outside: living, starting, stopped, killed, or none at all; and looking disturbs no one."""

from __future__ import annotations

import fcntl
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from synfarm.local.finding import Condition, look
from synfarm.local.folder import FolderDamaged, StackFolder
from synfarm.local.process import ProcessSpec
from synfarm.local.process_table import ProcessTable
from synfarm.local.state import StackState


def state(folder: StackFolder) -> StackState:
    return StackState(
        pid=1,
        api_url="http://127.0.0.1:1",
        trainer_url="http://127.0.0.1:2",
        llm_url="http://127.0.0.1:3",
        redis_port=4,
        store_endpoint="127.0.0.1:5",
        bucket="synfarm",
        key_file=folder.key_file,
        logs=folder.logs,
        started_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def test_the_life_of_a_stack(tmp_path: Path) -> None:
    root = tmp_path / "stack"
    assert look(root).condition is Condition.ABSENT
    root.mkdir()
    assert look(root).condition is Condition.ABSENT, "an empty folder may become a stack's"
    with StackFolder(root) as folder:
        found = look(root)
        assert (found.condition, found.lives) == (Condition.STARTING, True)
        assert str(found.pid) == folder.lock_file.read_text()
        folder.write_state(state(folder))
        assert look(root).condition is Condition.RUNNING
        assert look(root).state == state(folder)
        folder.state_file.write_text('{"of": "another version"}')
        assert look(root).condition is Condition.STARTING
    found = look(root)
    assert (found.condition, found.lives, found.pid) == (Condition.STOPPED, False, None)


def test_nothing_is_changed_in_a_foreign_folder(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    assert look(tmp_path).condition is Condition.FOREIGN
    assert look(tmp_path / "thesis.tex").condition is Condition.FOREIGN
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


_KILLED = """
import os, pathlib, signal, sys
from synfarm.local.folder import StackFolder
folder = StackFolder(pathlib.Path(sys.argv[1])).__enter__()
folder.state_file.write_text("{}")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_stack_left_tells_of_no_living_one(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", _KILLED, str(tmp_path)], check=False, timeout=60)
    assert (tmp_path / "stack.json").exists()
    found = look(tmp_path)
    assert (found.condition, found.lives, found.state) == (Condition.STALE, False, None)
    with StackFolder(tmp_path):
        assert not (tmp_path / "stack.json").exists(), "the next stack must not be taken for the dead one"
        assert look(tmp_path).condition is Condition.STARTING


def test_looking_keeps_no_stack_from_starting(tmp_path: Path) -> None:
    with StackFolder(tmp_path) as folder:
        lock = folder.lock_file
    # What a look does, only longer.
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_SH)
        onlooker = threading.Timer(0.12, fcntl.flock, (held, fcntl.LOCK_UN))
        onlooker.start()
        with StackFolder(tmp_path):
            pass
        onlooker.join()


def test_processes_are_listed_as_they_change(tmp_path: Path) -> None:
    specs = [
        ProcessSpec(name="redis", command=("x",), env={}, address="127.0.0.1:7"),
        ProcessSpec(name="worker", command=("x",), env={}),
    ]
    with StackFolder(tmp_path) as folder:
        table = ProcessTable(folder, specs)
        table.change("redis", "ready", pid=42, restarts=3)
        found = look(tmp_path).processes
        assert found is not None
        rows = {entry.name: (entry.state, entry.pid, entry.address, entry.restarts) for entry in found.processes}
        assert rows == {"redis": ("ready", 42, "127.0.0.1:7", 3), "worker": ("waiting", None, None, 0)}
    assert look(tmp_path).processes is None, "of a stack that lives"


def test_a_full_disk_does_not_end_the_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with StackFolder(tmp_path) as folder:

        def full(_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(folder, "write_processes", full)
        ProcessTable(folder, [ProcessSpec(name="redis", command=("x",), env={})]).change(
            "redis", "ready", pid=1, restarts=0
        )


def test_damaged_secrets_say_what_to_do(tmp_path: Path) -> None:
    with StackFolder(tmp_path) as folder:
        (folder.root / "secrets.json").write_text("{}")
        with pytest.raises(FolderDamaged, match=r"secrets\.json is damaged: remove it, and the next start"):
            folder.secrets()
        (folder.root / "secrets.json").unlink()
        assert folder.secrets().api_key
