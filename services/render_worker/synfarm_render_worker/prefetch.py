"""Fetches the captions of the units that will probably come next, while one is drawn."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager

from pydantic import ValidationError
from redis.exceptions import RedisError

from synfarm.contracts import layout
from synfarm.contracts.renders import UnitTask
from synfarm.queue.specs import SpecCache
from synfarm.storage.protocol import ObjectStore, StoreError
from synfarm.telemetry import get_logger

__all__ = ["CaptionPrefetch"]

_log = get_logger(__name__)
_AHEAD = 4
"""Units looked at beyond the one in work; twice as many are kept."""
_LOOK_SECONDS = 2.0
"""How often it looks again while a long unit is drawn, or while messages wait."""


class CaptionPrefetch:
    """One a process: a thread that looks at the queues and never takes from them, and what it read.

    A captions object is create-only, so what lies here is never stale. A wrong guess (another worker took the message)
    costs one GET. The spec of the unit's job is read with it, into the runner's own cache.

    Whether a unit is committed already is *not* read ahead: "yes" is for ever, but "no" may be wrong a moment later,
    and a unit would be drawn twice for it. That HEAD stays where it is, right after the claim.
    """

    def __init__(
        self,
        store: ObjectStore,
        specs: SpecCache,
        waiting: Callable[[int], list[UnitTask]],
        *,
        size: int = 64_000_000,
        seen: Callable[[bool], None] = lambda _: None,
        read: Callable[[bool], None] = lambda _: None,
    ) -> None:
        """
        Args:
            waiting: the next units (at most so many), without taking them.
            size: bytes that may lie here.
            seen: told after each look whether messages wait.
            read: told of each unit whether its captions were here.
        """
        self._store, self._specs, self._waiting = store, specs, waiting
        self._size, self._seen, self._read = size, seen, read
        self._kept: OrderedDict[tuple[str, int], Future[bytes | None]] = OrderedDict()
        self._lock = threading.Lock()
        self._wake, self._stopped = threading.Event(), False
        self._units, self._messages = 0, False
        self._thread = threading.Thread(target=self._run, name="prefetch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Let the thread end; it may still be in a request, and is not waited for."""
        self._stopped = True
        self._wake.set()

    @contextmanager
    def unit(self) -> Iterator[None]:
        """Around a unit that is drawn: what comes after it is looked for meanwhile."""
        self._units += 1
        self._wake.set()
        try:
            yield
        finally:
            self._units -= 1

    def captions(self, task: UnitTask) -> bytes:
        """The unit's JSONL, from here (once) or from the store.

        Raises:
            ObjectMissing, StoreError: as the store's get.
        """
        with self._lock:
            future = self._kept.pop((task.job, task.unit), None)
        data = None if future is None else future.result()
        self._read(data is not None)
        return self._store.get(layout.captions(task.job, task.unit)) if data is None else data

    def look(self) -> None:
        """Look at the queues once and read what is not here yet."""
        try:
            tasks = self._waiting(_AHEAD)
        except RedisError as error:
            _log.debug("no_look_ahead", error=str(error))
            return
        self._messages = bool(tasks)
        self._seen(self._messages)
        # All are placed first: a unit that comes before its captions waits for them here and does not ask again.
        for task, future in [(task, future) for task in tasks if (future := self._place(task)) is not None]:
            self._fetch(task, future)

    def _place(self, task: UnitTask) -> Future[bytes | None] | None:
        """Room for a unit's captions, at the cost of the oldest; None if they are here or on the way."""
        key = (task.job, task.unit)
        with self._lock:
            if self._stopped or key in self._kept:
                return None
            if sum(len(future.result() or b"") for future in self._kept.values() if future.done()) >= self._size:
                return None
            while len(self._kept) >= 2 * _AHEAD:
                self._kept.popitem(last=False)
            future = self._kept[key] = Future()
            return future

    def _fetch(self, task: UnitTask, future: Future[bytes | None]) -> None:
        data = None
        try:
            data = self._store.get(layout.captions(task.job, task.unit))
            self._specs.get(task.job, unit=task.unit)
        except (
            StoreError,
            ValidationError,
        ) as error:  # the unit asks again when it is its turn, and tells what is wrong
            _log.debug("not_read_ahead", job=task.job, unit=task.unit, error=str(error))
        finally:
            if data is None:
                with self._lock:
                    self._kept.pop((task.job, task.unit), None)
            future.set_result(data)

    def _run(self) -> None:
        while not self._stopped:
            self._wake.wait(_LOOK_SECONDS if self._units or self._messages else None)
            self._wake.clear()
            if not self._stopped:
                self.look()
