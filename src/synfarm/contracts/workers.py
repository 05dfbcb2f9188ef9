"""What a live worker tells of itself."""

from __future__ import annotations

from typing import Literal

from synfarm.contracts.base import Contract, Moment

__all__ = ["WorkerInfo", "WorkerList"]


class WorkerInfo(Contract):
    """One live worker. Read as said by a peer: a newer worker may tell more."""

    id: str
    kind: Literal["caption", "render"]
    capabilities: tuple[str, ...] = ()
    """Of a render worker: what it serves, for example ``collage-s``."""
    version: str = ""
    """Of synfarm, as it is installed there."""
    reads: tuple[int, ...] = (1,)
    """Contracts of a job's spec that it takes units of."""
    slots: int = 1
    """Units that it works on at a time."""
    model: str | None = None
    """What it has loaded, as ``<model>@<revision>``; of a caption worker, where its language model answers."""
    loading: str | None = None
    """What it loads now."""
    trouble: str | None = None
    """Why the last load failed, until one succeeds."""
    units: tuple[str, ...] = ()
    """``<job>/<unit>`` of the units in work."""
    host: str = ""
    pid: int = 0
    gpu: str | None = None
    started_at: Moment
    progress_age_seconds: float | None = None
    """Since the last progress of the unit that waits longest; None without work."""
    draining: bool = False
    """It was asked to stop, and takes no more units."""


class WorkerList(Contract):
    """``GET /v1/workers``."""

    items: tuple[WorkerInfo, ...]
