"""Reads caption groups out of a shard by the rows of its commit, and believes no byte before its checksum."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from pydantic import ValidationError

from synfarm.contracts.commits import GroupRow, SampleMeta, ShardRef
from synfarm.storage.protocol import ObjectStore, StoreDamaged

__all__ = ["Group", "fetch_group", "fetch_shard", "open_group"]


@dataclass(frozen=True, slots=True)
class Group:
    """One caption with its encoded images, in order of their number."""

    row: GroupRow
    images: tuple[bytes, ...]
    meta_json: bytes

    def meta(self) -> SampleMeta:
        """The sample's JSON, parsed.

        Raises:
            StoreDamaged: it is not what this version writes, though its checksum is right.
        """
        try:
            return SampleMeta.from_bytes(self.meta_json)
        except ValidationError as error:
            raise StoreDamaged(f"{self.row.caption_id}: not a sample's JSON: {error}") from error


def open_group(data: bytes | memoryview, row: GroupRow, *, start: int = 0) -> Group:
    """The group of ``row`` in ``data``, which begins at byte ``start`` of the shard (0: the whole shard).

    Raises:
        StoreDamaged: the bytes are too few, or not those that were committed.
    """
    begin = row.offset - start
    block = memoryview(data)[begin : begin + row.length] if begin >= 0 else memoryview(b"")
    if len(block) != row.length or hashlib.sha256(block).hexdigest() != row.sha256:
        raise StoreDamaged(f"{row.caption_id}: the bytes of the group are not those that were committed")
    files: list[bytes] = []
    for member in row.members:
        at = member.offset - row.offset
        if at < 0 or at + member.length > row.length:
            raise StoreDamaged(f"{member.name}: its row points outside of its group")
        files.append(bytes(block[at : at + member.length]))
    *images, meta = files
    return Group(row, tuple(images), meta)


def fetch_group(store: ObjectStore, key: str, row: GroupRow) -> Group:
    """One group by one range read.

    Raises:
        ObjectMissing: there is no such shard.
        StoreDamaged: as :func:`open_group`.
    """
    return open_group(store.get_range(key, row.offset, row.length), row, start=row.offset)


def fetch_shard(store: ObjectStore, shard: ShardRef) -> bytes:
    """The whole shard, proven against its commit.

    Raises:
        ObjectMissing: there is no such shard.
        StoreDamaged: other bytes than were committed.
    """
    data = store.get(shard.key)
    if len(data) != shard.size or hashlib.sha256(data).hexdigest() != shard.sha256:
        raise StoreDamaged(f"{shard.key}: the shard is not the one that was committed")
    return data
