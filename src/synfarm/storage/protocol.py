"""The object store as everything above it sees it: a small Protocol and its errors.

Keys are those of :mod:`synfarm.contracts.layout`, relative to the store's root prefix.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

__all__ = [
    "ObjectInfo",
    "ObjectMissing",
    "ObjectStore",
    "StoreDamaged",
    "StoreError",
    "StoreRefused",
    "StoreUnavailable",
]


class StoreError(Exception):
    """Root of all store errors; the message names the key."""


class ObjectMissing(StoreError):
    """There is no such object."""


class StoreUnavailable(StoreError):
    """Time-out, 5xx, connection refused, full disk, after all retries: an environment fault; wait and try again."""


class StoreRefused(StoreError):
    """The store said no for good: credentials, policy, missing bucket, unsupported request."""


class StoreDamaged(StoreError):
    """Bytes came back that are not the bytes that were asked for (short body, wrong checksum)."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a listing or a HEAD tells of an object."""

    key: str
    size: int
    etag: str
    modified: datetime
    """By the store's clock."""


class ObjectStore(Protocol):
    """Thread-safe. Every method may raise StoreUnavailable or StoreRefused."""

    def put(self, key: str, data: bytes | memoryview, *, content_type: str = "application/octet-stream") -> ObjectInfo:
        """Write the whole object, over an older one if there is one.

        Args:
            data: bytes, or a view of bytes, of which some 64 MiB are copied at a time; it must not change meanwhile.
        """

    def put_file(self, key: str, path: Path, *, content_type: str = "application/octet-stream") -> ObjectInfo:
        """As ``put``, of a file that need not fit into memory; readers see the whole object or none of it.

        Raises:
            OSError: the file cannot be read.
        """

    def create(self, key: str, data: bytes, *, content_type: str = "application/json") -> bool:
        """Create-only (conditional PUT). True if the object now holds exactly ``data``: this writer won.

        After a refusal or a time-out the object is read back and compared; data that differs by an attempt id
        therefore tells its own writer apart from every other.
        """

    def get(self, key: str) -> bytes:
        """The whole object; its length has been checked.

        Raises:
            ObjectMissing: there is none.
        """

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        """Exactly ``length`` bytes from ``offset``.

        Raises:
            ObjectMissing: there is none.
            StoreDamaged: the store gave fewer or more bytes.
        """

    def head(self, key: str) -> ObjectInfo | None:
        """What the store knows of the object, or None if there is none."""

    def list(self, prefix: str, *, start_after: str | None = None, limit: int | None = None) -> Iterator[ObjectInfo]:
        """Objects whose key begins with ``prefix``, in order of keys, after ``start_after``, recursively.

        The order is that of bytes among the names of one folder. Between folders it may be that of the tree (SeaweedFS
        lists ``p/x`` before ``p-1/x``), and ``start_after`` means that same order.
        """

    def list_folders(self, prefix: str) -> Iterator[str]:
        """The next path segments below ``prefix`` (which ends with '/'), without the slash: one request a thousand.

        A folder that has just lost its last object may still be named.
        """

    def delete(self, key: str) -> None:
        """Remove the object; no error if there is none."""

    def now(self) -> datetime:
        """The time by the clock that ``ObjectInfo.modified`` is of, to the second.

        Raises:
            StoreRefused: the store does not tell its time.
        """
