"""One item ahead of whoever takes them: what making an item costs is not on the taker's own clock."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Generic, TypeVar

__all__ = ["Handover"]

T = TypeVar("T")


class Handover(Generic[T]):
    """Items of an iterator, made one after the other in a thread of its own while the last one is in use.

    Iterate in one thread, and :meth:`close` when done. An error of the iterator is raised where its item would be.
    """

    def __init__(self, items: Iterator[T], name: str) -> None:
        self._items = items
        self._changed = threading.Condition()
        self._made: list[T] = []
        """The item that waits, if one does."""
        self._error: Exception | None = None
        self._ended = self._closed = False
        # Who has closed it does not wait for an item that may never be done, and neither does the process's end.
        self._thread = threading.Thread(target=self._make, name=name, daemon=True)
        self._thread.start()

    def _make(self) -> None:
        error: Exception | None = None
        try:
            for item in self._items:
                if not self._hand_over(item):
                    break
        except Exception as found:  # noqa: BLE001 - raised by whoever takes the items
            error = found
        with self._changed:
            self._error, self._ended = error, True
            self._changed.notify_all()

    def _hand_over(self, item: T) -> bool:
        """Wait until it may lie there; whether anybody will take it."""
        with self._changed:
            self._changed.wait_for(lambda: not self._made or self._closed)
            if not self._closed:
                self._made.append(item)
                self._changed.notify_all()
            return not self._closed

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        with self._changed:
            self._changed.wait_for(lambda: bool(self._made) or self._ended)
            if self._made:
                self._changed.notify_all()
                return self._made.pop()
            if self._error is not None:
                raise self._error
            raise StopIteration

    def close(self) -> None:
        """Make no more."""
        with self._changed:
            self._closed = True
            self._made.clear()
            self._changed.notify_all()
