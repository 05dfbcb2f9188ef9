"""The seam between the service and whatever starts training processes: a small Protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

__all__ = ["Child", "Launcher"]


class Child(Protocol):
    """One start of a run: the launcher process and all ranks below it."""

    def poll(self) -> int | None:
        """Exit status of the launcher process, None while it runs."""

    def terminate(self) -> None:
        """Ask all ranks to save and leave (SIGTERM)."""

    def kill(self) -> None:
        """End every process of this start at once and wait until they are gone."""

    @property
    def log(self) -> Path:
        """Where its output goes."""


class Launcher(Protocol):
    """Starts the ranks of one attempt; must be used from one long-lived thread (parent-death signals)."""

    def start(self, run: str, attempt: int, ranks: int) -> Child:
        """Start an attempt.

        Raises:
            OSError: the command could not be started.
        """

    def clear(self, run: str) -> int:
        """End what is left of every earlier attempt of ``run`` on this machine; how many processes that were.

        Raises:
            TimeoutError: a process outlived SIGKILL.
        """
