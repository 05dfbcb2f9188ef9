"""Shards and groups from the store, each proven by its checksum.

Away (time-out, 5xx): wait, however long. Damaged in transit: fetch again until the bytes are right. Damaged at rest:
the same wrong bytes of the whole shard came ``_PROOF`` times in a row, cut into pieces in another place each time, for
whatever spoils every answer alike on its way (always its middle, say) then spoils other bytes. The shard is handed out
with ``intact`` false, and its readers prove each group by the group's own checksum. The range of a group is never the
judge of that: one that stays wrong is left to a read of the whole.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass

from synfarm.contracts.commits import GroupRow, ShardRef
from synfarm.storage.protocol import ObjectMissing, ObjectStore, StoreDamaged, StoreUnavailable
from synfarm.telemetry import get_logger
from synfarm_trainer.data.cache.counts import ReadCounts

__all__ = ["DatasetDamaged", "FetchStopped", "Shard", "StoreReads"]

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
    """The whole shard, or one group of it with its row counted from there (:func:`~.groups.alone`)."""
    intact: bool


class StoreReads:
    """Thread-safe."""

    def __init__(self, store: ObjectStore, counts: ReadCounts, *, wait_seconds: float = 1.0) -> None:
        self._store, self._counts, self.wait_seconds = store, counts, wait_seconds
        self._closed = threading.Event()

    def close(self) -> None:
        """Let waiting readers go."""
        self._closed.set()

    @property
    def closed(self) -> bool:
        return self._closed.is_set()

    def pause(self, seconds: float) -> None:
        """
        Raises:
            FetchStopped: closed meanwhile.
        """
        if self._closed.wait(seconds):
            raise FetchStopped

    def whole(self, ref: ShardRef) -> Shard:
        """
        Raises:
            DatasetDamaged: the object is gone for good.
            StoreRefused: the store said no.
            FetchStopped: closed meanwhile.
        """

        def read(times: int, length: int) -> bytes:
            if not times or length != ref.size:
                return self._store.get(ref.key)
            cut = times * ref.size // _PROOF
            pieces = ((0, cut), (cut, ref.size - cut))
            return b"".join(self._store.get_range(ref.key, offset, size) for offset, size in pieces)

        data, intact = self._until_sure(ref.key, read, ref.sha256)
        return Shard(ref, data, intact)

    def group(self, ref: ShardRef, row: GroupRow) -> bytes | None:
        """Exactly the bytes of one group; None if its range stays wrong.

        Raises:
            DatasetDamaged, StoreRefused, FetchStopped: as :meth:`whole`.
        """
        data, intact = self._until_sure(
            ref.key, lambda *_: self._store.get_range(ref.key, row.offset, row.length), row.sha256, damaged=_PROOF
        )
        return data if intact else None

    def _until_sure(
        self, key: str, read: Callable[[int, int], bytes], sha256: str, *, damaged: int | None = None
    ) -> tuple[bytes, bool]:
        """What came, and whether it is right; nothing where the store called its own answer ``damaged`` times so.

        Args:
            read: given how often in a row the same wrong bytes have come, and how many those are.
        """
        wrong: str | None = None
        times = length = missing = tries = refused = 0
        while True:
            if self.closed:
                raise FetchStopped
            tries += 1
            delay = min(self.wait_seconds * 2 ** min(tries - 1, 5), 30.0)
            try:
                data = read(times, length)
            except StoreUnavailable as error:
                _log.warning("shard_waits", key=key, error=str(error))
                self._counts.add(requests=1, waits=1)
                self.pause(delay)
                continue
            except StoreDamaged as error:
                _log.warning("shard_damaged_in_transit", key=key, error=str(error))
                self._counts.add(requests=1, retries=1)
                refused += 1
                if refused == damaged:
                    return b"", False
                self.pause(delay)
                continue
            except ObjectMissing as error:
                self._counts.add(requests=1)
                missing += 1
                if missing >= _PROOF:
                    raise DatasetDamaged(
                        f"shard {key} is gone from the store; restore it or start a run on another dataset"
                    ) from error
                self.pause(delay)
                continue
            self._counts.add(requests=1, bytes=len(data))
            digest = hashlib.sha256(data).hexdigest()
            if digest == sha256:
                return data, True
            times = times + 1 if digest == wrong else 1
            wrong, length = digest, len(data)
            _log.warning("shard_checksum_wrong", key=key, times=times)
            if times >= _PROOF:
                return data, False
            self._counts.add(retries=1)
            self.pause(self.wait_seconds)
