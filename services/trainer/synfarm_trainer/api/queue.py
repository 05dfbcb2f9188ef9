"""Runs that wait for a set of devices, and whose turn it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from synfarm_trainer.launch.devices import DeviceSet

__all__ = ["RunQueue", "Waiting"]


@dataclass(frozen=True, slots=True)
class Waiting:
    run: str
    owner: str
    sets: tuple[DeviceSet, ...]
    """Those that it may be given."""


class RunQueue:
    """First come, first served, an owner's second run after everyone's first. Not safe for threads by itself."""

    def __init__(self) -> None:
        self._waiting: dict[str, Waiting] = {}

    def __contains__(self, run: str) -> bool:
        return run in self._waiting

    def add(self, waiting: Waiting) -> None:
        self._waiting.setdefault(waiting.run, waiting)

    def remove(self, run: str) -> Waiting:
        """
        Raises:
            KeyError: it does not wait.
        """
        return self._waiting.pop(run)

    def order(self, busy: Iterable[str]) -> list[Waiting]:
        """Whose turn it is, first to last.

        Args:
            busy: the owner of each run that has devices.
        """
        turns = Counter(busy)
        ranked: list[tuple[int, Waiting]] = []
        for waiting in self._waiting.values():
            ranked.append((turns[waiting.owner], waiting))
            turns[waiting.owner] += 1
        # Stable: equal turns stay as they came.
        return [waiting for _, waiting in sorted(ranked, key=lambda pair: pair[0])]

    def next_for(self, devices: DeviceSet, busy: Iterable[str]) -> str | None:
        """The run whose turn it is on a set that is free; it stays in the queue."""
        return next((waiting.run for waiting in self.order(busy) if devices in waiting.sets), None)
