"""The way of a caption group to its reader: from memory, from the node's disk, or from the store, proven on it.

A shard is read whole where that is worth it (:mod:`.cache.rule`) and then lies on the node's disk for all its ranks, or
in this rank's memory where there is no disk for it. Other groups are read by their range, and not kept: an epoch
needs each of them once. What a reader is given does not depend on the way.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from synfarm.contracts.commits import GroupRow, ShardRef
from synfarm.storage.protocol import ObjectStore
from synfarm_trainer.data.cache.counts import ReadCounts
from synfarm_trainer.data.cache.disk import DiskCache
from synfarm_trainer.data.cache.groups import alone, is_proven
from synfarm_trainer.data.cache.proven import DatasetDamaged, FetchStopped, Shard, StoreReads
from synfarm_trainer.data.cache.rule import ReadRule

__all__ = ["DatasetDamaged", "FetchStopped", "Shard", "ShardCache"]

_ROUNDS = 3
"""How often a shard that leaves the disk before it could be read is fetched again, the last time into memory."""


class ShardCache:
    """Of one rank; thread-safe: one fetch a shard at a time, on a node with a disk cache one of all its processes."""

    def __init__(
        self,
        store: ObjectStore,
        max_bytes: int,
        *,
        wait_seconds: float = 1.0,
        disk: DiskCache | None = None,
        rule: ReadRule | None = None,
    ) -> None:
        """
        Args:
            max_bytes: of the shards that are kept in memory.
        """
        self.counts = disk.counts if disk is not None else ReadCounts()
        self._reads = StoreReads(store, self.counts, wait_seconds=wait_seconds)
        self._max, self._disk, self._rule = max_bytes, disk, rule or ReadRule()
        self._lock = threading.Lock()
        self._shards: OrderedDict[str, Future[Shard | None]] = OrderedDict()
        """Kept, and on their way; None: it lies on the disk now."""
        self._ranges: dict[tuple[str, int], Future[bytes | None]] = {}
        """Fetched ahead, until they are read; None: the range stays wrong, the whole shard tells why."""
        self._bytes = 0

    def close(self) -> None:
        """Let waiting readers go, whatever the store does."""
        with self._lock:
            self._reads.close()
            waited: list[Future[Any]] = [*self._shards.values(), *self._ranges.values()]
            for future in waited:
                if not future.done():
                    future.set_exception(FetchStopped())

    @property
    def held_bytes(self) -> int:
        """Of whole shards in memory."""
        return self._bytes

    def most_ahead(self, max_bytes: int) -> int:
        """Bytes that may be fetched ahead: never so many that shards would drive each other out again. Ranges wait for
        their reader outside of the cache."""
        if not self._rule.reads_most_whole:
            return max_bytes
        return min(max_bytes, (self._max if self._disk is None else self._disk.max_bytes) // 2)

    def get(self, ref: ShardRef) -> Shard:
        """The whole shard.

        Raises:
            DatasetDamaged: the object is gone for good.
            StoreRefused: the store said no.
            FetchStopped: closed meanwhile.
        """
        for _ in range(_ROUNDS):
            if self._disk is not None and (data := self._disk.read(ref, 0, ref.size)) is not None:
                if hashlib.sha256(data).hexdigest() == ref.sha256:
                    return Shard(ref, data, True)
                self._disk.drop(ref)
            if (shard := self._obtain(ref)) is not None:
                return shard
        return self._reads.whole(ref)

    def read(self, ref: ShardRef, row: GroupRow, *, scattered: bool = False) -> tuple[Shard, GroupRow]:
        """Where a group's bytes are, and its row counted from their beginning.

        Args:
            scattered: of a reader that wants few groups of each shard.

        Raises:
            DatasetDamaged, StoreRefused, FetchStopped: as :meth:`get`.
        """
        place = ref.key, row.offset
        with self._lock:
            asked, known = self._ranges.get(place), self._shards.get(ref.key)
        if asked is None and known is None and (data := self._from_disk(ref, row)) is not None:
            self.counts.add(hits=1)
            return Shard(ref, data, True), alone(row)
        near = asked if asked is not None else known
        self.counts.add(**{"hits" if near is not None and near.done() else "misses": 1})
        if asked is not None or (known is None and not self._rule.whole(ref, scattered=scattered)):
            data = self._taken(place, asked) if asked is not None else self._reads.group(ref, row)
            if data is not None:
                return Shard(ref, data, True), alone(row)
        for _ in range(_ROUNDS):
            if (shard := self._obtain(ref)) is not None:
                return shard, row
            if (data := self._from_disk(ref, row)) is not None:
                return Shard(ref, data, True), alone(row)
        return self._reads.whole(ref), row

    def ask(self, ref: ShardRef, row: GroupRow) -> tuple[int, Callable[[], object]] | None:
        """What it takes to have this group near before it is read: bytes, and a call that fetches them.

        None if nothing has to be done. From now on readers wait for that call, so that it must be made; what it raises
        they are told too.
        """
        if self._rule.whole(ref):
            if self._disk is not None and self._disk.holds(ref):
                return None
            with self._lock:
                if self._reads.closed or ref.key in self._shards:
                    return None
                whole = self._shards[ref.key] = Future()
            return ref.size, lambda: self._fill(ref, whole)
        if self._disk is not None and self._disk.holds(ref):
            return None
        place = ref.key, row.offset
        with self._lock:
            if self._reads.closed or ref.key in self._shards or place in self._ranges:
                return None
            piece = self._ranges[place] = Future()
        return row.length, lambda: self._fill_range(ref, row, piece)

    def _taken(self, place: tuple[str, int], asked: Future[bytes | None]) -> bytes | None:
        data = asked.result()
        with self._lock:
            # The next epoch may have asked for the same group meanwhile.
            if self._ranges.get(place) is asked:
                del self._ranges[place]
        return data

    def _from_disk(self, ref: ShardRef, row: GroupRow) -> bytes | None:
        if self._disk is None or (data := self._disk.read(ref, row.offset, row.length)) is None:
            return None
        if is_proven(row, data):
            return data
        self._disk.drop(ref)
        return None

    def _obtain(self, ref: ShardRef) -> Shard | None:
        """The shard from memory or the store; None if it lies on the disk now."""
        with self._lock:
            known = self._shards.get(ref.key)
            if known is not None:
                self._shards.move_to_end(ref.key)
            else:
                mine = self._shards[ref.key] = Future()
        if known is None:
            self._fill(ref, mine)
            known = mine
        return known.result()

    def _fill(self, ref: ShardRef, mine: Future[Shard | None]) -> None:
        try:
            shard, stays = self._load(ref)
        except BaseException as error:
            with self._lock:
                self._shards.pop(ref.key, None)
                if not mine.done():
                    mine.set_exception(error)
            raise
        with self._lock:
            if mine.done():
                return
            mine.set_result(shard)
            if shard is None or not stays:
                self._shards.pop(ref.key, None)
                return
            self._bytes += len(shard.data)
            self._evict(keep=ref.key)

    def _fill_range(self, ref: ShardRef, row: GroupRow, mine: Future[bytes | None]) -> None:
        try:
            data = self._reads.group(ref, row)
        except BaseException as error:
            with self._lock:
                if not mine.done():
                    mine.set_exception(error)
            raise
        with self._lock:
            if not mine.done():
                mine.set_result(data)

    def _load(self, ref: ShardRef) -> tuple[Shard | None, bool]:
        """The shard, and whether memory is where it is kept; None if another process has put it on the disk."""
        if self._disk is None:
            return self._reads.whole(ref), True
        try:
            with self._disk.claim(ref, self._reads.pause):
                if self._disk.holds(ref):
                    return None, False
                shard = self._reads.whole(ref)
                return shard, not (shard.intact and self._disk.put(ref, shard.data))
        except OSError:
            # The folder cannot even be locked; `put` tells and counts that.
            shard = self._reads.whole(ref)
            return shard, not (shard.intact and self._disk.put(ref, shard.data))

    def _evict(self, keep: str) -> None:
        for key in list(self._shards):
            if self._bytes <= self._max:
                return
            held = self._shards[key]
            if key != keep and held.done():
                shard = held.result()
                self._bytes -= len(shard.data) if shard is not None else 0
                del self._shards[key]
                self.counts.add(evictions=1)
