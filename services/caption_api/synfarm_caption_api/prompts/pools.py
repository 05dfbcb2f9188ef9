"""The pools of in-context examples: sentences of our own, in the sizes of the paper (tables 16 to 18)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files

from synfarm.contracts.recipes import POOLS, PoolExample, PoolName

__all__ = ["RELATIONS", "Pools", "load_pools"]

RELATIONS = ("in", "on", "next to", "behind", "in front of", "over", "under", "above", "below", "besides")
"""The relation words of ``c,rel``, each as likely as another (paper section 3.1)."""


@dataclass(frozen=True, slots=True)
class Pools:
    """Examples by pool. Their order is part of every draw: append, never reorder."""

    by_pool: Mapping[PoolName, tuple[PoolExample, ...]]

    @staticmethod
    def of_rows(rows: Iterable[PoolExample]) -> Pools:
        every = tuple(rows)
        return Pools({pool: tuple(row for row in every if row.pool == pool) for pool in POOLS})

    def of(self, pool: PoolName) -> tuple[PoolExample, ...]:
        return self.by_pool[pool]

    @property
    def rows(self) -> tuple[PoolExample, ...]:
        return tuple(row for pool in POOLS for row in self.by_pool[pool])


def load_pools() -> Pools:
    """The pools that ship: 52 objects, 33 places, 21 textures, 50 with a background, 20 with a relation."""
    data = json.loads(files(__package__).joinpath("pools.json").read_text(encoding="utf-8"))
    return Pools.of_rows(PoolExample(pool=pool, **row) for pool in POOLS for row in data.get(pool, ()))
