"""A group's bytes by themselves, and its row counted from their beginning."""

from __future__ import annotations

import hashlib

from synfarm.contracts.commits import GroupRow

__all__ = ["alone", "is_proven"]


def alone(row: GroupRow) -> GroupRow:
    """The same group where its bytes are all there is."""
    members = tuple(item.model_copy(update={"offset": item.offset - row.offset}) for item in row.members)
    return row.model_copy(update={"offset": 0, "members": members})


def is_proven(row: GroupRow, data: bytes) -> bool:
    return len(data) == row.length and hashlib.sha256(data).hexdigest() == row.sha256
