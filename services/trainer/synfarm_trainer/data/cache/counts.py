"""What reading the dataset came to, since this rank began."""

from __future__ import annotations

import threading
from dataclasses import dataclass, fields

__all__ = ["Counted", "ReadCounts"]


@dataclass(slots=True)
class Counted:
    """Totals of one rank."""

    hits: int = 0
    """Caption groups that were near when they were wanted: in memory, on the node's disk, or fetched ahead."""
    misses: int = 0
    """Caption groups that a reader had to wait for."""
    requests: int = 0
    """Reads of the store, whole shards and ranges."""
    bytes: int = 0
    """That the store gave."""
    retries: int = 0
    """Reads made again because what came was damaged in transit."""
    waits: int = 0
    """Reads made again because the store was away."""
    evictions: int = 0
    """Shards that left memory or disk for others."""
    disk_falls: int = 0
    """Shards that the disk did not take: it was full, or could not be written."""
    disk_damaged: int = 0
    """Groups whose bytes had rotted on the node's disk; they were fetched again."""


class ReadCounts:
    """Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counted = Counted()

    def add(self, **more: int) -> None:
        """``add(hits=1)``."""
        with self._lock:
            for name, amount in more.items():
                setattr(self._counted, name, getattr(self._counted, name) + amount)

    def told(self) -> dict[str, float]:
        """By the names of :class:`Counted`, always in their order."""
        with self._lock:
            return {item.name: float(getattr(self._counted, item.name)) for item in fields(Counted)}
