"""The shard cache of a rank, wired from the configuration, the dataset and the rank's node."""

from __future__ import annotations

import os
from pathlib import Path

from synfarm.settings import StoreSettings
from synfarm.storage.protocol import ObjectStore
from synfarm.telemetry import get_logger
from synfarm_trainer.config.data import MOST_FETCHES, DataConfig
from synfarm_trainer.data.cache.counts import ReadCounts
from synfarm_trainer.data.cache.disk import DiskCache
from synfarm_trainer.data.cache.rule import ReadRule
from synfarm_trainer.data.fetch import ShardCache
from synfarm_trainer.data.manifest import Dataset

__all__ = ["open_cache", "with_connections"]

_log = get_logger(__name__)
_SAMPLE = 16
"""Shards that tell how large one is: each costs a read of its commit."""


def with_connections(settings: StoreSettings) -> StoreSettings:
    """With a connection for each request that a run may have in flight, unless somebody says how many; they are opened
    when they are needed."""
    if "pool_size" in settings.model_fields_set:
        return settings
    return settings.model_copy(update={"pool_size": settings.pool_size + MOST_FETCHES})


def open_cache(
    store: ObjectStore, data: DataConfig, folder: Path, dataset: Dataset, *, world: int, streams: int = 1
) -> ShardCache:
    """The ranks of a node (torchrun's ``LOCAL_WORLD_SIZE``) share what lies on its disk; memory is each rank's own.

    A batch's captions fall to the ranks in equal shares, and the groups of a block's shards are shuffled: of each shard
    a node needs the share of its ranks. With more than half of them it reads whole shards, else ranges: those pay by
    their number in flight, so that without ``data.fetch_threads`` it is whole shards again. Each of the ``streams`` of
    a mixture has a block of its own in work.
    """
    sharing = min(world, int(os.environ.get("LOCAL_WORLD_SIZE", "1"))) if data.cache_disk_mib else 1
    bound = (data.cache_disk_mib or data.cache_mib) << 20
    typical = _mean_bytes(dataset)
    block = min(streams * data.block_shards, len(dataset.shards)) * typical
    rule = ReadRule(needed=sharing / world if data.fetch_threads else 1.0, fits=block <= bound, typical=typical)
    if not rule.fits:
        name = "data.cache_disk_mib" if data.cache_disk_mib else "data.cache_mib"
        _log.warning(
            "shards_are_read_in_ranges",
            reason=f"{name}: {bound >> 20} MiB hold no block of data.block_shards shards ({(block >> 20) + 1} MiB)",
        )
    disk = DiskCache(folder, data.cache_disk_mib << 20, ReadCounts()) if data.cache_disk_mib else None
    return ShardCache(store, data.cache_mib << 20, disk=disk, rule=rule)


def _mean_bytes(dataset: Dataset) -> int:
    """Of a shard, from some that lie far apart."""
    last = len(dataset.table) - 1
    places = {int(dataset.shard_of[last * i // (_SAMPLE - 1)]) for i in range(_SAMPLE)}
    return sum(dataset.shards[place].size for place in places) // len(places)
