"""An object store in the memory of one process, so that everything above the store can be tested in microseconds."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from synfarm.storage.protocol import ObjectInfo, ObjectMissing, ObjectStore, StoreDamaged

__all__ = ["FaultHook", "MemoryStore"]

FaultHook = Callable[[str, str], None]
"""Called with (operation, key) before each operation; whatever it raises is what the caller meets.

Operations: put, create, get, get_range, head, list, list_folders, delete, now, and ``create.answer``, which comes after
the object was created and before the writer is told: raising there is an answer that was lost on the way.
"""


@dataclass(frozen=True, slots=True)
class _Stored:
    data: bytes
    info: ObjectInfo


class MemoryStore(ObjectStore):
    """Behaves as the real store does: one lock, byte order of keys, create-only that one writer of many wins.

    A listing is taken at its start, so that what is written or deleted meanwhile cannot break it.
    """

    def __init__(self, *, fault: FaultHook | None = None, clock: Callable[[], datetime] | None = None) -> None:
        """
        Args:
            fault: raises what a test wants an operation to fail with; may be replaced at any time by the attribute.
            clock: the store's own time, by which objects age.
        """
        self.fault = fault
        self._clock = clock or (lambda: datetime.now(UTC))
        self._objects: dict[str, _Stored] = {}
        self._lock = threading.RLock()

    def _enter(self, operation: str, key: str) -> None:
        if self.fault is not None:
            self.fault(operation, key)

    def _write(self, key: str, data: bytes | memoryview) -> ObjectInfo:
        etag = hashlib.md5(data, usedforsecurity=False).hexdigest()
        info = ObjectInfo(key, len(data), etag, self._clock())
        self._objects[key] = _Stored(bytes(data), info)
        return info

    def _read(self, key: str) -> bytes:
        with self._lock:
            stored = self._objects.get(key)
        if stored is None:
            raise ObjectMissing(key)
        return stored.data

    def put(self, key: str, data: bytes | memoryview, *, content_type: str = "application/octet-stream") -> ObjectInfo:
        self._enter("put", key)
        with self._lock:
            return self._write(key, data)

    def put_file(self, key: str, path: Path, *, content_type: str = "application/octet-stream") -> ObjectInfo:
        return self.put(key, path.read_bytes(), content_type=content_type)

    def create(self, key: str, data: bytes, *, content_type: str = "application/json") -> bool:
        self._enter("create", key)
        with self._lock:
            stored = self._objects.get(key)
            if stored is None:
                self._write(key, data)
        if stored is None:
            self._enter("create.answer", key)
            return True
        return stored.data == data

    def get(self, key: str) -> bytes:
        self._enter("get", key)
        return self._read(key)

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        if offset < 0 or length < 0:
            raise ValueError(f"offset and length must not be negative, got {offset} and {length}")
        self._enter("get_range", key)
        data = self._read(key)[offset : offset + length]
        if len(data) != length:
            raise StoreDamaged(f"{key}: asked for {length} bytes from {offset}, got {len(data)}")
        return data

    def head(self, key: str) -> ObjectInfo | None:
        self._enter("head", key)
        with self._lock:
            stored = self._objects.get(key)
        return None if stored is None else stored.info

    def _listing(self, prefix: str) -> list[ObjectInfo]:
        with self._lock:
            found = [stored.info for key, stored in self._objects.items() if key.startswith(prefix)]
        return sorted(found, key=lambda info: info.key.encode())

    def list(self, prefix: str, *, start_after: str | None = None, limit: int | None = None) -> Iterator[ObjectInfo]:
        self._enter("list", prefix)
        after = None if start_after is None else start_after.encode()
        left = limit
        for info in self._listing(prefix):
            if left == 0:
                return
            if after is None or info.key.encode() > after:
                yield info
                left = None if left is None else left - 1

    def list_folders(self, prefix: str) -> Iterator[str]:
        if not prefix.endswith("/"):
            raise ValueError(f"the prefix of a folder ends with '/', got {prefix!r}")
        self._enter("list_folders", prefix)
        last = None
        for info in self._listing(prefix):
            head, slash, _ = info.key[len(prefix) :].partition("/")
            if slash and head != last:
                last = head
                yield head

    def delete(self, key: str) -> None:
        self._enter("delete", key)
        with self._lock:
            self._objects.pop(key, None)

    def now(self) -> datetime:
        self._enter("now", "")
        return self._clock()
