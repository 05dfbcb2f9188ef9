"""Locks of GPUs, so that two services on a machine never give the same one to two runs.

One a GPU, and one of the machine, which those who name their GPUs share and who takes whatever there is has alone. The
kernel lets go of a lock when the process that holds it dies, however it dies; and with it die its ranks.

Who waits for the machine's lock holds that of the turn meanwhile, again shared or alone. Without it, services with sets
would hand the machine to each other for ever past one that needs it alone, and that one to itself past them.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from pathlib import Path

from synfarm_trainer.launch.devices import ALL, DeviceSet, has_gpus, visible_gpus
from synfarm_trainer.launch.lock_files import LockRefused, open_lock

__all__ = ["Lease", "Leases"]

_MACHINE, _TURN = "machine.lock", "turn.lock"
_SETTING = "SYNFARM_TRAINER_LEASE_DIR"


class Lease:
    """The right to the GPUs of a set, until :meth:`release`."""

    def __init__(self, handles: list[int]) -> None:
        self._handles = handles

    def release(self) -> None:
        while self._handles:
            os.close(self._handles.pop())


class Leases:
    """Lock files in a folder that all services of the machine share. Each set is asked for by one thread."""

    def __init__(self, folder: Path, *, nodes: Path = Path("/dev")) -> None:
        """
        Args:
            nodes: folder of the machine's devices.
        """
        self._folder, self._nodes = folder, nodes
        self._turns: dict[str, Lease] = {}
        """By name of the set that waits for the machine."""

    def prove(self, sets: Sequence[DeviceSet]) -> None:
        """
        Raises:
            ValueError: locks of their GPUs cannot be made in the folder; names the setting.
        """
        names = {name for devices in sets for name, _ in self._locks(devices)}
        if not names:
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"{_SETTING}: {error}; name a folder that this user can write") from error
        if not os.access(self._folder, os.W_OK | os.X_OK):
            raise ValueError(
                f"{_SETTING}: {self._folder} is not this user's to write; name another folder, or let its owner share "
                f"it: chmod 1777 {self._folder}"
            )
        for name in sorted({*names, _TURN}):
            try:
                os.close(open_lock(self._folder / name))
            except LockRefused as error:
                raise ValueError(f"{_SETTING}: {error}") from error
            except OSError as error:
                raise ValueError(f"{_SETTING}: {error}; remove it, or name another folder") from error

    def take(self, devices: DeviceSet) -> Lease | None:
        """The lease of all GPUs of a set, or None while another service has one of them. CPUs need none.

        Who is refused the machine has the next turn, until it asks again or gives up by :meth:`leave`.

        Raises:
            OSError: a lock cannot be opened.
        """
        locks = self._locks(devices)
        if not locks:
            return Lease([])
        self._folder.mkdir(parents=True, exist_ok=True)
        (_, kind), gpus = locks[0], locks[1:]
        turn = self._turns.pop(devices.name, None) or self._lock([(_TURN, kind)])
        if turn is None:
            return None
        try:
            if (machine := self._lock(locks[:1])) is None:
                self._turns[devices.name] = turn
                return None
        except OSError:
            turn.release()
            raise
        turn.release()
        try:
            rest = self._lock(gpus)
        except OSError:
            machine.release()
            raise
        if rest is None:
            # Whoever has one of these GPUs is waited for without the turn: the machine is not what is missing.
            machine.release()
            return None
        return Lease([*machine._handles, *rest._handles])

    def leave(self, devices: DeviceSet) -> None:
        """Nothing waits for the set any more: its turn, if it has one, is others'."""
        if (turn := self._turns.pop(devices.name, None)) is not None:
            turn.release()

    def _lock(self, locks: Sequence[tuple[str, int]]) -> Lease | None:
        """All of them, or None and none of them."""
        lease = Lease([])
        try:
            for name, kind in locks:
                handle = open_lock(self._folder / name)
                lease._handles.append(handle)
                fcntl.flock(handle, kind | fcntl.LOCK_NB)
        except OSError as error:
            # What was locked before it is free again, also where it is no other service that has the rest.
            lease.release()
            if isinstance(error, BlockingIOError):
                return None
            raise
        return lease

    def _locks(self, devices: DeviceSet) -> list[tuple[str, int]]:
        """Names of the files and how each is held; the machine's comes first."""
        gpus = devices.gpus
        if devices == ALL:
            named = visible_gpus(os.environ)
            if named is None:
                return [(_MACHINE, fcntl.LOCK_EX)] if has_gpus(self._nodes) else []
            gpus = named
        mine = [(f"gpu-{gpu.replace('/', '-')}.lock", fcntl.LOCK_EX) for gpu in gpus]
        return [(_MACHINE, fcntl.LOCK_SH), *mine] if mine else []
