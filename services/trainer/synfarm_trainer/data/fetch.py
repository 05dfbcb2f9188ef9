"""Whole shards through a bounded cache, each proven by its checksum.

Away (time-out, 5xx): wait, however long. Damaged in transit: fetch again until the bytes are right. Damaged at rest:
the same wrong bytes came ``_PROOF`` times in a row; the shard is then handed out with ``intact`` false, and its readers
prove each group by the group's own checksum.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from concurrent.futures import Future
from dataclasses import dataclass

from synfarm.contracts.commits import ShardRef
from synfarm.storage.protocol import ObjectMissing, ObjectStore, StoreDamaged, StoreUnavailable
from synfarm.telemetry import get_logger

__all__ = ["DatasetDamaged", "FetchStopped", "Shard", "ShardCache"]

_PROOF = 3
_log = get_logger(__name__)


class DatasetDamaged(Exception):
    """More is damaged at rest than the run may replace; the message names the object and the cure."""


class FetchStopped(Exception):
    """The reader was closed while it waited for the store."""


@dataclass(frozen=True, slots=True)
class Shard:
    ref: ShardRef
    data: bytes
    intact: bool


class ShardCache:
    """Least recently used shards of one rank, bounded in bytes. Thread-safe: one fetch a shard at a time."""

    def __init__(self, store: ObjectStore, max_bytes: int, *, wait_seconds: float = 1.0) -> None:
        self._store, self._max, self._wait = store, max_bytes, wait_seconds
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._shards: OrderedDict[str, Future[Shard]] = OrderedDict()
        self._bytes = 0

    def close(self) -> None:
        """Let waiting readers go."""
        self._closed.set()

    @property
    def held_bytes(self) -> int:
        return self._bytes

    def get(self, ref: ShardRef) -> Shard:
        """The shard, from the cache or the store.

        Raises:
            DatasetDamaged: the object is gone for good.
            StoreRefused: the store said no.
            FetchStopped: closed meanwhile.
        """
        with self._lock:
            known = self._shards.get(ref.key)
            if known is not None:
                self._shards.move_to_end(ref.key)
            else:
                mine: Future[Shard] = Future()
                self._shards[ref.key] = mine
        if known is not None:
            return known.result()
        try:
            shard = self._fetch(ref)
        except BaseException as error:
            with self._lock:
                self._shards.pop(ref.key, None)
            mine.set_exception(error)
            raise
        with self._lock:
            self._bytes += len(shard.data)
            self._evict(keep=ref.key)
        mine.set_result(shard)
        return shard

    def _evict(self, keep: str) -> None:
        for key in list(self._shards):
            if self._bytes <= self._max:
                return
            held = self._shards[key]
            if key != keep and held.done():
                self._bytes -= len(held.result().data)
                del self._shards[key]

    def _pause(self, seconds: float) -> None:
        if self._closed.wait(seconds):
            raise FetchStopped

    def _fetch(self, ref: ShardRef) -> Shard:
        wrong: str | None = None
        times = missing = tries = 0
        while True:
            tries += 1
            delay = min(self._wait * 2 ** min(tries - 1, 5), 30.0)
            try:
                data = self._store.get(ref.key)
            except StoreUnavailable as error:
                _log.warning("shard_waits", key=ref.key, error=str(error))
                self._pause(delay)
                continue
            except StoreDamaged as error:
                _log.warning("shard_damaged_in_transit", key=ref.key, error=str(error))
                self._pause(delay)
                continue
            except ObjectMissing as error:
                missing += 1
                if missing >= _PROOF:
                    raise DatasetDamaged(
                        f"shard {ref.key} is gone from the store; restore it or start a run on another dataset"
                    ) from error
                self._pause(delay)
                continue
            digest = hashlib.sha256(data).hexdigest()
            if digest == ref.sha256:
                return Shard(ref, data, True)
            times = times + 1 if digest == wrong else 1
            wrong = digest
            _log.warning("shard_checksum_wrong", key=ref.key, times=times)
            if times >= _PROOF:
                return Shard(ref, data, False)
            self._pause(self._wait)
