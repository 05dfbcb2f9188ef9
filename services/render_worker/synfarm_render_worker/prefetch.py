"""Fetches captions beside other work: of a claimed unit while it is checked, of the next ones while one is drawn."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field

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
_MISSED = 0.25
"""Of a guess: what a unit that was not guessed gives back."""


@dataclass(slots=True)
class _Reading:
    """A unit's captions, here or on the way."""

    guessed: bool
    data: Future[bytes | None] = field(default_factory=Future)


class CaptionPrefetch:
    """One a process: a thread that reads beside the worker's own, looks at the queues and never takes from them.

    A claimed unit is this worker's: its captions are read while the store is asked whether it needs work at all.

    Which units come next is a guess. A worker alone at its queue is always right and reads everything ahead; of many
    each is right as seldom as they are many, so that reading what all of them see would cost the store GETs by the
    square of the workers. A guess therefore costs one of a few, a right one gives it back, and a unit that came
    unguessed gives a quarter: at most that many GETs a unit are for nothing, however many workers there are.

    A captions object is create-only, so what lies here is never stale. The spec of the unit's job is read with it, into
    the runner's own cache.

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
        self._kept: OrderedDict[tuple[str, int], _Reading] = OrderedDict()
        self._claimed: deque[tuple[UnitTask, _Reading]] = deque()
        self._guesses = float(_AHEAD)
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

    def claimed(self, task: UnitTask) -> None:
        """The worker has a unit from here on: its captions are read beside whatever else is asked about it."""
        with self._lock:
            if self._stopped or not self._thread.is_alive() or (task.job, task.unit) in self._kept:
                return
            self._make_room()
            reading = self._kept[task.job, task.unit] = _Reading(guessed=False)
            self._claimed.append((task, reading))
        self._wake.set()

    def captions(self, task: UnitTask) -> bytes:
        """The unit's JSONL, from here (once) or from the store.

        Raises:
            ObjectMissing, StoreError: as the store's get.
        """
        with self._lock:
            reading = self._kept.pop((task.job, task.unit), None)
            was_guessed = reading is not None and reading.guessed
            self._guesses = min(_AHEAD, self._guesses + (1 if was_guessed else _MISSED))
        is_in_time = reading is not None and (was_guessed or reading.data.done())
        data = None if reading is None else reading.data.result()
        self._read(is_in_time and data is not None)
        return self._store.get(layout.captions(task.job, task.unit)) if data is None else data

    def look(self) -> None:
        """Look at the queues once and read ahead what may be guessed of it."""
        try:
            tasks = self._waiting(_AHEAD)
        except RedisError as error:
            _log.debug("no_look_ahead", error=str(error))
            return
        self._messages = bool(tasks)
        self._seen(self._messages)
        # All are placed first: a unit that comes before its captions waits for them here and does not ask again.
        placed = [(task, reading) for task in tasks if (reading := self._guess(task)) is not None]
        try:
            for task, reading in placed:
                self._fetch_claimed()
                self._fetch(task, reading)
        finally:
            _leave(reading for _, reading in placed)

    def _guess(self, task: UnitTask) -> _Reading | None:
        """Room for a unit's captions, at the cost of the oldest; None if they are here, or a guess is not due."""
        key = (task.job, task.unit)
        with self._lock:
            if self._stopped or key in self._kept or self._guesses < 1:
                return None
            done = [reading.data for reading in self._kept.values() if reading.data.done()]
            if sum(len(data.result() or b"") for data in done) >= self._size:
                return None
            self._make_room()
            self._guesses -= 1
            reading = self._kept[key] = _Reading(guessed=True)
            return reading

    def _make_room(self) -> None:
        while len(self._kept) >= 2 * _AHEAD:
            self._kept.popitem(last=False)

    def _fetch_claimed(self) -> bool:
        """Whether there was any."""
        fetched = False
        while True:
            with self._lock:
                if not self._claimed:
                    return fetched
                task, reading = self._claimed.popleft()
            self._fetch(task, reading)
            fetched = True

    def _fetch(self, task: UnitTask, reading: _Reading) -> None:
        data = None
        try:
            data = self._store.get(layout.captions(task.job, task.unit))
            if reading.guessed:  # of a claimed unit the worker itself is at it
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
            reading.data.set_result(data)

    def _run(self) -> None:
        try:
            while not self._stopped:
                self._wake.wait(_LOOK_SECONDS if self._units or self._messages else None)
                self._wake.clear()
                fetched = self._fetch_claimed()
                if not self._stopped and (self._units or not fetched):
                    self.look()
        finally:
            self._stopped = True
            with self._lock:
                left = [*self._claimed]
            _leave(reading for _, reading in left)


def _leave(readings: Iterable[_Reading]) -> None:
    """Nobody waits for what is not read any more."""
    for reading in readings:
        if not reading.data.done():
            reading.data.set_result(None)
