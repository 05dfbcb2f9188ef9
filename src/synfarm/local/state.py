"""What a running stack tells other processes of this machine: where it listens, and how each of its processes does."""

from __future__ import annotations

from pathlib import Path

from synfarm.contracts.base import Contract, Moment

__all__ = ["ProcessEntry", "ProcessList", "StackState"]


class StackState(Contract):
    """``stack.json``: where a running stack listens. The key is in the file next to it, for its owner's eyes only."""

    pid: int
    """Of the supervisor: SIGTERM to it stops the stack in good order."""
    api_url: str
    """The caption API; the web page is at its ``/``."""
    trainer_url: str
    llm_url: str
    redis_port: int
    store_endpoint: str
    bucket: str
    key_file: Path
    logs: Path
    started_at: Moment


class ProcessEntry(Contract):
    """One process of a stack."""

    name: str
    state: str
    """``waiting``, ``starting``, ``ready``, or ``died (…)`` until it is started again."""
    pid: int | None = None
    address: str | None = None
    """``127.0.0.1:port``, where it listens."""
    restarts: int = 0
    since: Moment
    """When it came into this state."""


class ProcessList(Contract):
    """``processes.json``: written at every change, from the first start on."""

    processes: tuple[ProcessEntry, ...]
