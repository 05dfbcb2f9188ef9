"""One lock a GPU, so that two services on a machine never give the same one to two runs.

The kernel lets go of a lock when the process that holds it dies, however it dies; and with it die its ranks.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from pathlib import Path

from synfarm_trainer.launch.devices import DeviceSet

__all__ = ["Lease", "Leases"]


_SETTING = "SYNFARM_TRAINER_LEASE_DIR"


class Lease:
    """The right to the GPUs of a set, until :meth:`release`."""

    def __init__(self, handles: list[int]) -> None:
        self._handles = handles

    def release(self) -> None:
        while self._handles:
            os.close(self._handles.pop())


class Leases:
    """Lock files in a folder that all services of the machine share."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def prove(self, sets: Sequence[DeviceSet]) -> None:
        """
        Raises:
            ValueError: locks of their GPUs cannot be made in the folder; names the setting.
        """
        if not any(devices.gpus for devices in sets):
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"{_SETTING}: {error}; name a folder that this user can write") from error
        if not os.access(self._folder, os.W_OK | os.X_OK):
            raise ValueError(f"{_SETTING}: {self._folder} is not this user's to write; name another folder")

    def take(self, devices: DeviceSet) -> Lease | None:
        """The lease of all GPUs of a set, or None while another service has one of them. CPUs need none.

        Raises:
            OSError: the folder cannot be written.
        """
        lease = Lease([])
        if devices.gpus:
            self._folder.mkdir(parents=True, exist_ok=True)
        for gpu in devices.gpus:
            path = self._folder / f"gpu-{gpu.replace('/', '-')}.lock"
            handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            lease._handles.append(handle)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lease.release()
                return None
            os.ftruncate(handle, 0)
            os.write(handle, f"{os.getpid()}\n".encode())
        return lease
