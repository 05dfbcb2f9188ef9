"""A stored dataset of eight shards, and a store that counts what is read of them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from synfarm.storage.memory import MemoryStore
from synfarm_trainer.data.cache.counts import ReadCounts
from synfarm_trainer.data.cache.disk import DiskCache
from synfarm_trainer.data.cache.rule import ReadRule
from synfarm_trainer.data.fetch import ShardCache
from synfarm_trainer.data.manifest import Dataset, load_dataset

RANGES = ReadRule(needed=0.25, small=0)


class Counting(MemoryStore):
    """Notes reads of shards; ``spoil`` sees each one's bytes before its reader."""

    def __init__(self) -> None:
        super().__init__()
        self.whole: list[str] = []
        self.ranges: list[tuple[str, int]] = []
        self.spoil: Callable[[bytes], bytes] = bytes
        self._noting = threading.Lock()

    def get(self, key: str) -> bytes:
        data = super().get(key)
        if not key.endswith(".tar"):
            return data
        with self._noting:
            self.whole.append(key)
        return self.spoil(data)

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        data = super().get_range(key, offset, length)
        with self._noting:
            self.ranges.append((key, offset))
        return self.spoil(data)


@pytest.fixture
def stored(write_dataset) -> tuple[Counting, Dataset]:
    store = Counting()
    return store, load_dataset(store, [write_dataset(store)], views=4)


@pytest.fixture
def on_disk(tmp_path: Path) -> Callable[..., ShardCache]:
    """(store, bound in bytes) to the cache of one more rank of the node."""

    def make(store: MemoryStore, bound: int = 1 << 30, *, memory: int = 1 << 20) -> ShardCache:
        disk = DiskCache(tmp_path / "shards", bound, ReadCounts())
        return ShardCache(store, memory, wait_seconds=0.001, disk=disk)

    return make


@pytest.fixture
def in_ranges() -> Callable[..., ShardCache]:
    """(store) to a cache that reads groups alone."""
    return lambda store: ShardCache(store, 1 << 20, wait_seconds=0.001, rule=RANGES)
