"""The hand that removes: old objects alone, by the store's clock, and nothing at all in a dry run."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from synfarm.contracts.housekeeping import Removal
from synfarm.storage.protocol import ObjectInfo, ObjectStore

__all__ = ["Remover"]

_KEPT = 5000
"""Removals and notes kept for the answer; all are counted."""


class Remover:
    """Counts what is removed, or would be."""

    def __init__(
        self,
        store: ObjectStore,
        *,
        before: datetime,
        delete: bool,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """
        Args:
            before: objects written at this moment or later stay, whatever they are.
            delete: False: count alone.
            progress: told (objects, bytes) so far.
        """
        self.store, self.delete, self._before, self._progress = store, delete, before, progress
        self.objects = self.bytes = 0
        self.removals: list[Removal] = []
        self.notes: list[str] = []

    def is_old(self, info: ObjectInfo) -> bool:
        return info.modified < self._before

    def is_still_old(self, key: str) -> bool:
        """Looked at once more, right before it is removed: somebody may just have written it again."""
        info = self.store.head(key)
        return info is not None and self.is_old(info)

    def remove(self, info: ObjectInfo, why: str) -> None:
        """Remove an object of which the caller has proven that nobody needs it."""
        if self.delete:
            self.store.delete(info.key)
        self.objects += 1
        self.bytes += info.size
        if len(self.removals) < _KEPT:
            self.removals.append(Removal(key=info.key, size=info.size, why=why))
        if self._progress is not None:
            self._progress(self.objects, self.bytes)

    def take_back(self, info: ObjectInfo) -> None:
        """What was removed is there again."""
        self.objects -= 1
        self.bytes -= info.size
        if self.removals and self.removals[-1].key == info.key:
            self.removals.pop()

    def note(self, text: str) -> None:
        """Something that was left alone, and that somebody should look at."""
        if len(self.notes) < _KEPT:
            self.notes.append(text)
