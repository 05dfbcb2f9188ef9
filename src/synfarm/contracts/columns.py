"""What a columns file holds: one part of a manifest, group by group, so that nobody need read its commits first.

``jobs/<job>/manifest/<gen>/part-<n>.columns.safetensors`` stands beside ``part-<n>.jsonl``. It is a safetensors file
whose header names, for every column, type, shape and place, and in its metadata the column's SHA-256. The end record
names the SHA-256 of the header: a reader proves the header, then each column that it takes, without the rest.

U units with a shard in their order, G caption groups in the order of the units and, within one, of its commit:

- ``unit.number``, ``unit.groups`` (U,): the unit; how many groups it has.
- ``unit.first`` (U,): caption index from which its groups' offsets count.
- ``unit.size``, ``unit.shard_sha256`` (U,), (U, 32): of the shard; with the unit they are its key.
- ``unit.commit_sha256`` (U, 32): of the commit object, which has the groups' places in the shard.
- ``group.offset`` (G,): caption index less the unit's first.
- ``group.images`` (G,): images of the group.
- ``group.concept``, ``group.template`` (G,): places in ``names.concept`` and ``names.template``.
- ``names.concept``, ``names.template`` (bytes,): JSON lists of names, in order of first appearance.
- ``score.<name>`` (G,): float64, NaN where the group has no such score; ``near0`` … ``near2`` are among them.

Whole numbers are unsigned (``unit.first`` signed), each column in the narrowest type that holds it.
"""

from __future__ import annotations

from pydantic import Field

from synfarm.contracts.base import Contract
from synfarm.contracts.ids import Sha256

__all__ = ["FORMAT", "SCORE", "ColumnsRef"]

FORMAT = "synfarm-columns-1"
"""In the file's metadata, under ``format``."""
SCORE = "score."
"""Before the name of a score."""


class ColumnsRef(Contract):
    """A columns file as the end record names it."""

    key: str = Field(min_length=1, max_length=512)
    sha256: Sha256
    """Of the first ``header_bytes`` bytes, which hold the hash of every column."""
    header_bytes: int = Field(gt=8)
    size: int = Field(ge=0)
    """Of the whole object."""
