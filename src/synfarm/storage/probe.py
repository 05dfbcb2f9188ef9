"""The start-up probe: does this store keep the promises on which everything above it rests?"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from synfarm.storage.protocol import ObjectMissing, ObjectStore, StoreDamaged, StoreRefused

__all__ = ["UnprovenStore", "probe", "require_proven"]

_RACES = 6
"""Keys raced for, all at once: on SeaweedFS a loser waits about a second for the key's lock."""
_WRITERS = 2


class UnprovenStore(StoreRefused):
    """The store lacks a capability; the message names it."""


def _race(store: ObjectStore, key: str) -> str | None:
    gate = threading.Barrier(_WRITERS)

    def write(writer: int) -> bool:
        gate.wait(timeout=60.0)
        return store.create(key, b"writer %d" % writer)

    with ThreadPoolExecutor(_WRITERS) as threads:
        won = [writer for writer, mine in enumerate(threads.map(write, range(_WRITERS))) if mine]
    if len(won) != 1:
        return f"{len(won)} of {_WRITERS} racing writers were told that they won"
    if store.get(key) != b"writer %d" % won[0]:
        return "the object is not the winner's"
    return "a second creation overwrote the first" if store.create(key, b"late") else None


def _one_winner(store: ObjectStore, folder: str) -> str | None:
    with ThreadPoolExecutor(_RACES) as threads:
        told = threads.map(lambda number: _race(store, f"{folder}race-{number}"), range(_RACES))
        return next((what for what in told if what is not None), None)


def _range_read(store: ObjectStore, folder: str) -> str | None:
    store.put(f"{folder}range", bytes(range(256)))
    try:
        right = store.get_range(f"{folder}range", 100, 50) == bytes(range(100, 150))
    except StoreDamaged as error:
        return str(error)
    return None if right else "other bytes than those of the range"


def _etag(store: ObjectStore, folder: str) -> str | None:
    key = f"{folder}etag"
    tags = []
    for data in (b"one", b"two"):
        store.put(key, data)
        info = store.head(key)
        if info is None:
            return "no HEAD right after a PUT"
        tags.append(info.etag)
    return None if all(tags) and tags[0] != tags[1] else f"ETags do not follow the content: {tags}"


def _start_after(store: ObjectStore, folder: str) -> str | None:
    keys = [f"{folder}list/{number:03d}" for number in range(5)]
    for key in keys:
        store.put(key, b"")
    found = [info.key for info in store.list(f"{folder}list/", start_after=keys[1])]
    return None if found == keys[2:] else f"asked for what follows {keys[1]!r}, got {found}"


_CHECKS: tuple[tuple[str, Callable[[ObjectStore, str], str | None]], ...] = (
    ("create-only (conditional PUT, If-None-Match)", _one_winner),
    ("range read", _range_read),
    ("ETag", _etag),
    ("start-after listing", _start_after),
)


def probe(store: ObjectStore) -> dict[str, str]:
    """Capabilities that the store lacks, with what was seen; empty if it has all. Leaves nothing behind.

    Raises:
        StoreUnavailable: it does not answer, which proves nothing.
    """
    folder = f"probe/{uuid.uuid4().hex}/"
    try:
        # All at once: processes of a farm start together, and each of them waits for its proof.
        with ThreadPoolExecutor(len(_CHECKS)) as threads:
            told = threads.map(lambda item: (item[0], item[1](store, folder)), _CHECKS)
            seen = dict(told)
    except ObjectMissing as error:
        return {"read after write": str(error)}
    finally:
        with ThreadPoolExecutor(_RACES) as threads:
            list(threads.map(lambda info: store.delete(info.key), list(store.list(folder))))
    return {name: what for name, what in seen.items() if what is not None}


def require_proven(store: ObjectStore, *, allow_unproven: bool = False) -> dict[str, str]:
    """Run the probe; refuse a store that fails it unless the setting allows it (safe only with one worker a queue).

    Returns:
        What the store lacks (empty unless allowed), for the caller to log.

    Raises:
        UnprovenStore: it lacks something; the message names it and the cure.
    """
    lacking = probe(store)
    if lacking and not allow_unproven:
        told = "; ".join(f"{name}: {what}" for name, what in lacking.items())
        raise UnprovenStore(
            f"this object store cannot be the ledger, it lacks {told}. Use MinIO, SeaweedFS 4.17 or later or another "
            "S3 with conditional writes; or, with one worker a queue only, set SYNFARM_STORE_ALLOW_UNPROVEN=true"
        )
    return lacking
