"""The tombstone: the first object of a deletion and the last one that stays."""

from __future__ import annotations

from typing import Literal

from synfarm.contracts.base import Contract, Moment
from synfarm.contracts.ids import Name

__all__ = ["Tombstone"]


class Tombstone(Contract):
    """``jobs/<job>/tombstone.json``. Workers look for it right before they commit; it outlives the purge for them."""

    schema_version: Literal[1] = 1
    by: Name
    at: Moment
    purging: bool = False
    """Objects have been removed: there is no way back, whatever pins appear."""
