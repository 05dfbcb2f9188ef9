"""Commits of shards, read when a shard is first needed: where its groups lie, proven by the manifest's hash."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from synfarm.contracts import layout
from synfarm.contracts.commits import Commit, GroupRow, ShardRef
from synfarm.storage.protocol import ObjectMissing, ObjectStore, StoreDamaged, StoreUnavailable
from synfarm.telemetry import get_logger
from synfarm_trainer.data.fetch import DatasetDamaged, FetchStopped
from synfarm_trainer.data.table import GroupTable

__all__ = ["CommitShelf", "LazyRows", "LazyShards", "UnitRefs"]

T = TypeVar("T")
_PROOF = 3
_log = get_logger(__name__)


@dataclass(frozen=True, eq=False)
class UnitRefs:
    """Which commit each of S shards is of."""

    jobs: tuple[str, ...]
    job: NDArray[Any]
    """(S,): place in ``jobs``."""
    unit: NDArray[np.uint32]
    """(S,)."""
    commit_sha256: NDArray[np.uint8]
    """(S, 32)."""


@dataclass(frozen=True, slots=True)
class _Opened:
    shard: ShardRef
    rows: dict[int, bytes]
    """By caption index, as JSON: a fifth of the memory that parsed rows take."""

    def row(self, index: int) -> GroupRow:
        """Raises:
        KeyError: the commit has no such group.
        """
        return GroupRow.from_bytes(self.rows[index])


class CommitShelf:
    """The commits of the shards used last. Thread-safe: one read a commit at a time.

    Away: it waits, however long. Other bytes than the manifest's hash, or none, three times: the data set is damaged.
    """

    def __init__(self, store: ObjectStore, refs: UnitRefs, *, most: int, wait_seconds: float = 1.0) -> None:
        """
        Args:
            most: commits held; a block of shards and the next one must fit, or they are read again and again.
        """
        self._store, self._refs, self.most, self._wait = store, refs, most, wait_seconds
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._opened: OrderedDict[int, Future[_Opened]] = OrderedDict()

    def close(self) -> None:
        """Let waiting readers go."""
        self._closed.set()

    def get(self, shard: int) -> _Opened:
        """The commit of a shard by its number.

        Raises:
            DatasetDamaged: it is gone, or not the one that the manifest was made of.
            StoreRefused: the store said no.
            FetchStopped: closed meanwhile.
        """
        with self._lock:
            known = self._opened.get(shard)
            if known is None:
                mine: Future[_Opened] = Future()
                self._opened[shard] = mine
            else:
                self._opened.move_to_end(shard)
        if known is not None:
            return known.result()
        try:
            opened = self._read(shard)
        except BaseException as error:
            with self._lock:
                self._opened.pop(shard, None)
            mine.set_exception(error)
            raise
        mine.set_result(opened)
        with self._lock:
            for other in list(self._opened)[: max(0, len(self._opened) - self.most)]:
                if self._opened[other].done():
                    del self._opened[other]
        return opened

    def _read(self, shard: int) -> _Opened:
        refs = self._refs
        key = layout.commit(refs.jobs[int(refs.job[shard])], int(refs.unit[shard]))
        commit = Commit.from_bytes(self._proven(key, refs.commit_sha256[shard].tobytes().hex()))
        if commit.shard is None:
            raise DatasetDamaged(f"{key}: names no shard, but the manifest has images of it")
        return _Opened(commit.shard, {row.index: row.to_bytes() for row in commit.groups})

    def _proven(self, key: str, sha256: str) -> bytes:
        wrong: str | None = None
        times = tries = 0
        while True:
            delay = min(self._wait * 2 ** min(tries, 5), 30.0)
            tries += 1
            try:
                data = self._store.get(key)
            except (StoreUnavailable, StoreDamaged) as error:
                _log.warning("commit_waits", key=key, error=str(error))
                self._pause(delay)
                continue
            except ObjectMissing:
                found = "gone from the store"
            else:
                digest = hashlib.sha256(data).hexdigest()
                if digest == sha256:
                    return data
                found = f"not the one that the manifest was made of (its sha256 is {digest[:12]}…)"
            times = times + 1 if found == wrong else 1
            wrong = found
            if times >= _PROOF:
                job = key.split("/")[1]
                raise DatasetDamaged(
                    f"commit {key} is {found}; `synfarm verify {job}` tells what else is damaged: restore it, or start "
                    "a run on another dataset"
                )
            self._pause(delay)

    def _pause(self, seconds: float) -> None:
        if self._closed.wait(seconds):
            raise FetchStopped


class _Lazy(Sequence[T]):
    """A sequence of which each item is made when it is asked for."""

    def __init__(self, count: int, make: Callable[[int], T]) -> None:
        self._count, self._make = count, make

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, place: int) -> T: ...
    @overload
    def __getitem__(self, place: slice) -> list[T]: ...
    def __getitem__(self, place: int | slice) -> T | list[T]:
        if isinstance(place, slice):
            return [self._make(number) for number in range(*place.indices(self._count))]
        number = int(place) + (self._count if place < 0 else 0)
        if not 0 <= number < self._count:
            raise IndexError(place)
        return self._make(number)

    def __iter__(self) -> Iterator[T]:
        return (self._make(number) for number in range(self._count))


class LazyShards(_Lazy[ShardRef]):
    """The shards by number, as their commits name them."""

    def __init__(self, table: GroupTable, shelf: CommitShelf) -> None:
        super().__init__(table.shards, lambda shard: shelf.get(shard).shard)


class LazyRows(_Lazy[GroupRow]):
    """The groups by row, as their commits have them."""

    def __init__(self, table: GroupTable, shelf: CommitShelf, refs: UnitRefs) -> None:
        def make(row: int) -> GroupRow:
            shard, index = int(table.shard[row]), int(table.index[row])
            try:
                return shelf.get(shard).row(index)
            except KeyError as error:
                unit = int(refs.unit[shard])
                raise DatasetDamaged(
                    f"caption {index}: the columns have it, the commit of unit {unit} does not"
                ) from error

        super().__init__(len(table), make)
