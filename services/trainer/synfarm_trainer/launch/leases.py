"""Locks of GPUs, so that two services on a machine never give the same one to two runs.

One a GPU, and one of the machine, which those who name their GPUs share and who takes whatever there is has alone. The
kernel lets go of a lock when the process that holds it dies, however it dies; and with it die its ranks.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from pathlib import Path

from synfarm_trainer.launch.devices import ALL, DeviceSet, has_gpus, visible_gpus

__all__ = ["Lease", "Leases"]

_MACHINE = "machine.lock"
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

    def __init__(self, folder: Path, *, nodes: Path = Path("/dev")) -> None:
        """
        Args:
            nodes: folder of the machine's devices.
        """
        self._folder, self._nodes = folder, nodes

    def prove(self, sets: Sequence[DeviceSet]) -> None:
        """
        Raises:
            ValueError: locks of their GPUs cannot be made in the folder; names the setting.
        """
        if not any(map(self._locks, sets)):
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
        locks = self._locks(devices)
        if locks:
            self._folder.mkdir(parents=True, exist_ok=True)
        try:
            for name, kind in locks:
                flags = os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
                handle = os.open(self._folder / name, flags, 0o600)
                lease._handles.append(handle)
                fcntl.flock(handle, kind | fcntl.LOCK_NB)
                if kind == fcntl.LOCK_EX:
                    os.ftruncate(handle, 0)
                    os.write(handle, f"{os.getpid()}\n".encode())
        except OSError as error:
            # What was locked before it is free again, also where it is no other service that has the rest.
            lease.release()
            if isinstance(error, BlockingIOError):
                return None
            raise
        return lease

    def _locks(self, devices: DeviceSet) -> list[tuple[str, int]]:
        """Names of the files and how each is held."""
        gpus = devices.gpus
        if devices == ALL:
            named = visible_gpus(os.environ)
            if named is None:
                return [(_MACHINE, fcntl.LOCK_EX)] if has_gpus(self._nodes) else []
            gpus = named
        mine = [(f"gpu-{gpu.replace('/', '-')}.lock", fcntl.LOCK_EX) for gpu in gpus]
        return [(_MACHINE, fcntl.LOCK_SH), *mine] if mine else []
