"""Fetching by position: what the next positions of the epoch need is on its way long before their step is.

Which groups those are the plan says, and nothing else; what arrives when changes nothing but how long a step waits.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from queue import Empty, SimpleQueue

from synfarm.contracts.commits import GroupRow, ShardRef
from synfarm_trainer.data.fetch import ShardCache

__all__ = ["Ahead"]

_LEAVING_SECONDS = 2.0
"""How long a closing reader waits for requests in flight; daemon threads do not keep the process."""


class Ahead:
    """Threads that ask the store for what comes, in order of position. Use from one thread."""

    def __init__(
        self,
        cache: ShardCache,
        groups: Callable[[int], Iterable[tuple[ShardRef, GroupRow]]],
        *,
        threads: int,
        max_bytes: int,
        max_shards: int | None = None,
    ) -> None:
        """
        Args:
            groups: those of a step, in order of position.
            threads: requests in flight, at most.
            max_bytes: of what is asked for steps that are not over, on its way or here; the last of it may exceed
                the bound. Groups are looked at as far ahead as they come to so many bytes.
            max_shards: that these groups are of.
        """
        self._cache, self._groups = cache, groups
        self._threads, self._max_bytes = threads, max_bytes
        self._upcoming: Iterator[tuple[int, ShardRef, GroupRow]] = iter(())
        self._next: tuple[int, ShardRef, GroupRow] | None = None
        self._asked: deque[tuple[int, int]] = deque()
        """(step, bytes) of what counts against the bound."""
        self._bytes = 0
        self._max_shards = max_shards
        self._shards: Counter[str] = Counter()
        self._seen: deque[tuple[int, int, str]] = deque()
        """(step, bytes, shard) of all groups, near or not: where nothing has to be fetched they end the look ahead,
        which would go on to the run's last step."""
        self._seen_bytes = 0
        self._jobs: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._workers: list[threading.Thread] = []

    @property
    def asked_bytes(self) -> int:
        return self._bytes

    @property
    def shards_ahead(self) -> int:
        return len(self._shards)

    def begin(self, start: int, stop: int) -> None:
        """From now on it is about steps ``start`` to ``stop - 1``."""
        self._upcoming = ((step, ref, row) for step in range(start, stop) for ref, row in self._groups(step))
        self._next = next(self._upcoming, None)
        self._asked.clear()
        self._seen.clear()
        self._shards.clear()
        self._bytes = self._seen_bytes = 0

    def advance(self, step: int, begun: int) -> None:
        """Ask for more, up to the bound.

        Args:
            step: the one that is about to be taken; older ones no longer count.
            begun: the first step whose groups nobody reads yet; earlier ones are not asked for any more.
        """
        while self._asked and self._asked[0][0] < step:
            self._bytes -= self._asked.popleft()[1]
        while self._seen and self._seen[0][0] < step:
            _, size, key = self._seen.popleft()
            self._seen_bytes -= size
            self._shards[key] -= 1
            if not self._shards[key]:
                del self._shards[key]
        while self._next is not None and not self._far_enough:
            of, ref, row = self._next
            if of >= begun:
                self._seen.append((of, row.length, ref.key))
                self._seen_bytes += row.length
                self._shards[ref.key] += 1
                if (wanted := self._cache.ask(ref, row)) is not None:
                    size, job = wanted
                    self._asked.append((of, size))
                    self._bytes += size
                    self._start(job)
            self._next = next(self._upcoming, None)

    @property
    def _far_enough(self) -> bool:
        many = self._max_shards is not None and len(self._shards) >= self._max_shards
        return many or max(self._bytes, self._seen_bytes) >= self._max_bytes

    def close(self) -> None:
        """Drop what has not been sent. The cache is to be closed first, so that nobody waits for it."""
        with suppress(Empty):
            while True:
                self._jobs.get_nowait()
        for _ in self._workers:
            self._jobs.put(None)
        for worker in self._workers:
            worker.join(_LEAVING_SECONDS / len(self._workers))

    def _start(self, job: Callable[[], object]) -> None:
        self._jobs.put(job)
        if len(self._workers) < self._threads:
            worker = threading.Thread(target=self._work, name=f"fetch-{len(self._workers)}", daemon=True)
            self._workers.append(worker)
            worker.start()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            # Whoever waits for it is told, and decides what becomes of the run.
            with suppress(Exception):
                job()
