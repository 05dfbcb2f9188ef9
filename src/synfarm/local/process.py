"""What the supervisor knows of a child process: how to start it, when it is ready, how it ends, what cures it."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from synfarm.local.probes import Probe

__all__ = ["ProcessSpec", "ServiceGaveUp", "start_levels"]


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """One child process."""

    name: str
    command: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)
    """The whole environment of the child (it holds keys: never logged)."""
    after: tuple[str, ...] = ()
    """Processes that must be ready before this one starts, first or again."""
    probe: Probe | None = None
    """None: ready as soon as it runs."""
    address: str | None = None
    """``127.0.0.1:port``, where it listens."""
    ready_timeout: float = 60.0
    """Seconds."""
    stop_timeout: float = 10.0
    """Seconds from SIGTERM to SIGKILL."""
    stop_signal: signal.Signals = signal.SIGTERM
    cure: str = "correct what its log says and start again"
    """Ends the sentence that tells of a service that gave up."""


class ServiceGaveUp(RuntimeError):
    """A child died too often, or never became ready: one sentence with its name, its log and the cure."""

    def __init__(self, name: str, what: str, log: Path, cure: str) -> None:
        super().__init__(f"{name} {what}; its log is {log}; {cure}.")
        self.name, self.log = name, log


def start_levels(specs: Iterable[ProcessSpec]) -> list[list[ProcessSpec]]:
    """Processes in the order of their start: each level needs only the levels before it.

    Raises:
        ValueError: a name occurs twice, or a process waits for one that does not exist or, in a circle, for itself.
    """
    waiting = list(specs)
    names = [spec.name for spec in waiting]
    if len(set(names)) != len(names):
        raise ValueError(f"process names must differ: {sorted(names)}")
    levels: list[list[ProcessSpec]] = []
    done: set[str] = set()
    while waiting:
        level = [spec for spec in waiting if done.issuperset(spec.after)]
        if not level:
            raise ValueError(f"these processes wait for each other or for unknown ones: {[s.name for s in waiting]}")
        done.update(spec.name for spec in level)
        waiting = [spec for spec in waiting if spec.name not in done]
        levels.append(level)
    return levels
