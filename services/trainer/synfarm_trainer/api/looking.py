"""A question that is put to the store again and again, without whoever asks ever waiting for the answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

__all__ = ["Looking"]

T = TypeVar("T")


class Looking(Generic[T]):
    """Use from one thread. A store that hangs keeps a call for minutes: each is made in a thread of its own, one at a
    time, which neither the end of the process nor that of its asker waits for."""

    def __init__(self, ask: Callable[[], T], seconds: float) -> None:
        """
        Args:
            seconds: from an answer, or from now, to the next question.
        """
        self._ask, self._seconds = ask, seconds
        self._asked: Future[T] | None = None
        self._next = time.monotonic() + seconds

    def answer(self) -> T | None:
        """Each answer once, when it is there; else None. Errors of the call are raised here."""
        if self._asked is None:
            if time.monotonic() >= self._next:
                self._asked = Future()
                threading.Thread(target=self._call, args=(self._asked,), name="looking", daemon=True).start()
            return None
        if not self._asked.done():
            return None
        asked, self._asked = self._asked, None
        self._next = time.monotonic() + self._seconds
        return asked.result()

    def _call(self, asked: Future[T]) -> None:
        try:
            asked.set_result(self._ask())
        except Exception as error:  # noqa: BLE001 - raised by whoever asks for the answer
            asked.set_exception(error)
