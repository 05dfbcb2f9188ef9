"""A stack's folder: one stack at a time, secrets for their owner's eyes only, no foreign folder taken."""

from __future__ import annotations

import hashlib
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from synfarm.auth import KeyRecord, load_keys
from synfarm.local.folder import FolderInUse, StackFolder
from synfarm.local.state import StackState


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_one_stack_at_a_time(tmp_path: Path) -> None:
    with (
        StackFolder(tmp_path / "one"),
        StackFolder(tmp_path / "two"),
        pytest.raises(
            FolderInUse,
            match=r"one is in use by another stack \(process \d+\): stop it with `synfarm down --data-dir",
        ),
    ):
        StackFolder(tmp_path / "one").__enter__()
    with StackFolder(tmp_path / "one"):
        pass


def test_the_lock_ends_with_its_process(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys, pathlib; from synfarm.local.folder import StackFolder; "
        "StackFolder(pathlib.Path(sys.argv[1])).__enter__(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "stack")], check=False, timeout=60)
    assert done.returncode == -9
    with StackFolder(tmp_path / "stack"):
        pass


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(FolderInUse, match="holds files that are not a stack's"):
        StackFolder(tmp_path).__enter__()
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_secrets_stay_and_stay_private(tmp_path: Path) -> None:
    with StackFolder(tmp_path / "stack") as folder:
        first = folder.secrets()
    with StackFolder(tmp_path / "stack") as folder:
        assert folder.secrets() == first
        assert mode(folder.root / "secrets.json") == mode(folder.key_file) == 0o600
        assert folder.key_file.read_text().strip() == first.api_key
        digest = hashlib.sha256(first.api_key.encode()).hexdigest()
        assert load_keys(folder.key_records_file) == [KeyRecord(sha256=digest, owner="local", role="admin")]
    assert first.api_key not in repr(first)
    assert first.redis_password not in repr(first)


def test_state_is_there_while_the_stack_is(tmp_path: Path) -> None:
    with StackFolder(tmp_path / "stack") as folder:
        state = StackState(
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
        folder.write_state(state)
        assert StackState.from_bytes(folder.state_file.read_bytes()) == state
        assert mode(folder.state_file) == 0o600
    assert not folder.state_file.exists()
