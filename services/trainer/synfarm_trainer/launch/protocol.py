"""The seam between the service and whatever starts training processes: a small Protocol."""

from __future__ import annotations

from typing import Protocol

from synfarm_trainer.launch.devices import DeviceSet
from synfarm_trainer.launch.outcome import Outcome

__all__ = ["Child", "Launcher", "LauncherAway"]


class LauncherAway(Exception):
    """What starts processes cannot be asked now; the message says what to do. Waited for, never a run's fault."""


class Child(Protocol):
    """One start of a run: all its ranks, on however many machines."""

    @property
    def attempt(self) -> int:
        """With which it was started."""

    @property
    def standing(self) -> str | None:
        """Why it does not run yet, as far as that is known."""

    def poll(self) -> Outcome | None:
        """How it ended, None while it runs."""

    def terminate(self) -> None:
        """Ask all ranks to save and leave (SIGTERM)."""

    def kill(self) -> None:
        """End every process of this start at once and wait until they are gone.

        Raises:
            LauncherAway: not known whether they are.
        """

    def last_lines(self) -> str:
        """The end of what it wrote, for a human who asks why; empty if that is not known."""


class Launcher(Protocol):
    """Starts the ranks of one attempt; each run from one long-lived thread (parent-death signals)."""

    outlives_service: bool
    """Starts go on when the service leaves, to be adopted by the next; their ranks open further attempts."""

    def start(self, run: str, attempt: int, ranks: int, devices: DeviceSet) -> Child:
        """Start an attempt.

        Raises:
            OSError: it was refused, and would be again.
            LauncherAway: try again.
        """

    def adopt(self, run: str) -> Child | None:
        """The start of an earlier service that is still there, if starts outlive services.

        Raises:
            LauncherAway: try again.
        """

    def clear(self, run: str) -> int:
        """End what is left of every earlier attempt of ``run``; how many processes (or objects) that were.

        Raises:
            TimeoutError: a process outlived SIGKILL.
            LauncherAway: try again.
        """
