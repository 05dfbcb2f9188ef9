"""What somebody may have put in the place of a lock, in a folder that all users of a machine may write."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from synfarm_trainer.launch.devices import DeviceSet
from synfarm_trainer.launch.leases import Leases
from synfarm_trainer.launch.lock_files import LockRefused, open_lock

NO_LOCK = r"SYNFARM_TRAINER_LEASE_DIR: .*machine\.lock is no plain file of its own"


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    (tmp_path / "leases").mkdir()
    return tmp_path / "leases" / "machine.lock"


def _prove(lock: Path) -> None:
    Leases(lock.parent).prove([DeviceSet("0", ("0",))])


def test_a_file_of_ours_under_a_second_name_stays_closed_to_others(lock: Path, tmp_path: Path) -> None:
    (key := tmp_path / "key").touch(0o600)
    lock.hardlink_to(key)
    with pytest.raises(ValueError, match=NO_LOCK):
        _prove(lock)
    assert key.stat().st_mode & 0o777 == 0o600


def test_a_pipe_that_nobody_writes_to_is_not_waited_for(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(lock)
    real = os.open

    def of_another_user(path: Path, flags: int, *mode: int) -> int:
        if flags & os.O_RDWR and Path(path) == lock:
            raise PermissionError(13, "Permission denied", str(path))
        assert flags & os.O_NONBLOCK, "it would wait for ever"
        return real(path, flags, *mode)

    monkeypatch.setattr(os, "open", of_another_user)
    with pytest.raises(ValueError, match=NO_LOCK):
        _prove(lock)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(LockRefused):
        open_lock(lock)
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("put", [Path.mkdir, lambda lock: lock.symlink_to("/dev/null")], ids=["folder", "link"])
def test_what_cannot_be_opened_is_told_with_the_setting(lock: Path, put: Callable[[Path], None]) -> None:
    put(lock)
    with pytest.raises(ValueError, match=r"SYNFARM_TRAINER_LEASE_DIR: .*machine\.lock'; remove it, or name another"):
        _prove(lock)
