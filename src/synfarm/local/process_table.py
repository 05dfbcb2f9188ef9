"""Keeps the list of a stack's processes up to date in its folder, for whoever asks how the stack does."""

from __future__ import annotations

from collections.abc import Iterable

from synfarm.contracts.base import utc_now
from synfarm.local.folder import StackFolder
from synfarm.local.process import ProcessSpec
from synfarm.local.state import ProcessEntry, ProcessList
from synfarm.telemetry import get_logger

__all__ = ["ProcessTable"]

_log = get_logger(__name__)


class ProcessTable:
    """Told of every change by the supervisor."""

    def __init__(self, folder: StackFolder, specs: Iterable[ProcessSpec]) -> None:
        self._folder = folder
        now = utc_now()
        self._rows = {
            spec.name: ProcessEntry(name=spec.name, state="waiting", address=spec.address, since=now) for spec in specs
        }

    def change(self, name: str, state: str, *, pid: int | None, restarts: int) -> None:
        """Take note of a process' new state, and write the list."""
        changed = {"state": state, "pid": pid, "restarts": restarts, "since": utc_now()}
        self._rows[name] = self._rows[name].model_copy(update=changed)
        try:
            self._folder.write_processes(ProcessList(processes=tuple(self._rows.values())))
        except OSError as error:
            # A full disk: the list is a convenience, and no reason to let the farm fall.
            _log.warning("process_list_not_written", error=str(error))
