"""Whether a shard is worth reading whole."""

from __future__ import annotations

from dataclasses import dataclass

from synfarm.contracts.commits import ShardRef

__all__ = ["ReadRule"]

_SMALL = 1 << 20


@dataclass(frozen=True, slots=True)
class ReadRule:
    """A plain function of the shard: the same at every look."""

    needed: float = 1.0
    """Share of an epoch that falls to the ranks who share the cache. Groups are shuffled over the shards of a block,
    so it is also the share of a shard's groups that they need."""
    fits: bool = True
    """Whether the cache holds the shards of a block; else a whole one would be gone before it is used up."""
    small: int = _SMALL
    """Bytes up to which a shard costs little more than a range of it."""
    typical: int = 0
    """Bytes of a shard, about; 0: not known."""

    @property
    def reads_large_ones_whole(self) -> bool:
        return self.needed > 0.5 and self.fits

    @property
    def reads_most_whole(self) -> bool:
        return self.reads_large_ones_whole or 0 < self.typical <= self.small

    def whole(self, ref: ShardRef, *, scattered: bool = False) -> bool:
        """
        Args:
            scattered: of a reader that wants few groups of each shard.
        """
        return ref.size <= self.small or (self.reads_large_ones_whole and not scattered)
