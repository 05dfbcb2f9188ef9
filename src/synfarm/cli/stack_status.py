"""`synfarm status --json`: everything it tells, as one object."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from synfarm.contracts.base import Contract
from synfarm.contracts.views import JobView, RunView
from synfarm.local.state import ProcessEntry, StackState

__all__ = ["StackStatus"]


class StackStatus(Contract):
    """A living stack."""

    folder: Path
    condition: str
    """``starting`` (or stopping) or ``running``."""
    pid: int | None
    state: StackState | None = None
    uptime_seconds: float | None = Field(default=None, ge=0)
    processes: tuple[ProcessEntry, ...] = ()
    jobs: tuple[JobView, ...] = ()
    """Under way; of the newest fifty."""
    runs: tuple[RunView, ...] = ()
    problem: str | None = None
    """Why jobs and runs are not known."""
