"""Groups read alone give what whole shards give, damage included; and when they are."""

from __future__ import annotations

from dataclasses import replace

import pytest

from synfarm.storage.protocol import StoreUnavailable
from synfarm_trainer.config import DataConfig
from synfarm_trainer.data.cache import opening
from synfarm_trainer.data.cache.opening import open_cache
from synfarm_trainer.data.decode import decode_group, read_caption
from synfarm_trainer.data.fetch import DatasetDamaged, ShardCache


def parts_of(cache: ShardCache, dataset, row: int):
    shard, group = cache.read(dataset.shards[dataset.shard_of[row]], dataset.rows[row])
    decoded = decode_group(shard, group, range(4))
    return read_caption(shard, group), decoded.refilled, [image.tobytes() for image in decoded.images]


def test_a_range_gives_what_the_whole_gives(stored, in_ranges) -> None:
    store, dataset = stored
    whole, alone = ShardCache(store, 1 << 30), in_ranges(store)
    assert [parts_of(alone, dataset, row) for row in range(20)] == [parts_of(whole, dataset, row) for row in range(20)]
    assert len(store.whole) == 3
    assert len(store.ranges) == 20
    told = alone.counts.told()
    assert (told["requests"], told["bytes"]) == (20, sum(row.length for row in dataset.rows[:20]))


def test_one_damaged_or_late_in_transit_is_fetched_again_until_right(stored, in_ranges) -> None:
    store, dataset = stored
    expected, left = parts_of(ShardCache(store, 1 << 20), dataset, 3), [1, 2, 3, 4, 5]

    def spoil(data: bytes) -> bytes:
        at = 900 + left.pop() if left else len(data)
        return data[:at] + bytes(data[at : at + 1]).translate(bytes(range(255, -1, -1))) + data[at + 1 :]

    away = [StoreUnavailable("away")] * 4

    def fault(operation: str, key: str) -> None:
        if operation == "get_range" and away:
            raise away.pop()

    store.spoil, store.fault = spoil, fault
    cache = in_ranges(store)
    assert parts_of(cache, dataset, 3) == expected
    assert (cache.counts.told()["retries"], cache.counts.told()["waits"]) == (5, 4)


@pytest.mark.parametrize("how", ["image", "cut"])
def test_damage_at_rest_is_judged_by_the_whole_shard(stored, in_ranges, how: str) -> None:
    """The same replacements, and the same end where nothing is left, as by whole shards."""
    store, dataset = stored
    row, key = dataset.rows[1], dataset.shards[0].key
    data = bytearray(store.get(key))
    data[row.members[3].offset : row.members[3].offset + 40] = bytes(40)
    store.put(key, bytes(data) if how == "image" else bytes(data)[: row.members[3].offset + 9])
    store.ranges.clear()
    whole, alone = ShardCache(store, 1 << 20, wait_seconds=0.001), in_ranges(store)
    for at in (0, 1):
        shard, group = alone.read(dataset.shards[0], dataset.rows[at])
        expected = decode_group(*whole.read(dataset.shards[0], dataset.rows[at]), range(4))
        found = decode_group(shard, group, range(4))
        assert found.refilled == expected.refilled == (((3, 0),) if at else ())
        assert [image.tobytes() for image in found.images] == [image.tobytes() for image in expected.images]
    if how == "cut":
        with pytest.raises(DatasetDamaged, match=r"every image of caption .*0000000007 is damaged"):
            parts_of(alone, dataset, 7)


def test_a_shard_that_is_gone_is_named(stored, in_ranges) -> None:
    store, dataset = stored
    store.delete(dataset.shards[0].key)
    with pytest.raises(DatasetDamaged, match="is gone from the store"):
        parts_of(in_ranges(store), dataset, 0)


@pytest.mark.parametrize(
    ("world", "here", "fields", "whole"),
    [
        (1, None, {}, True),
        (8, 8, {"cache_disk_mib": 1}, True),
        (16, 8, {"cache_disk_mib": 1}, False),
        (12, 8, {"cache_disk_mib": 1}, True),
        (12, 4, {"cache_disk_mib": 1}, False),
        (2, 2, {}, False),
        (2, 2, {"fetch_threads": 0}, True),
        (1, None, {"block_shards": 9}, False),
    ],
    ids=["alone", "a-node", "two-nodes", "the-larger-node", "the-smaller", "own-memory", "no-threads", "a-large-block"],
)
def test_a_node_that_needs_more_than_half_of_a_shard_reads_all_of_it(
    stored, tmp_path, monkeypatch: pytest.MonkeyPatch, world: int, here: int | None, fields: dict, whole: bool
) -> None:
    """Said to be of 400 KiB, two shards are a block that a cache of 1 MiB holds; eight of 1 MiB are not."""
    store, dataset = stored
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    if here:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", str(here))
    data = DataConfig(**{"fetch_threads": 8, "block_shards": 2, "cache_mib": 1, **fields})
    size = (1 << 20) if "block_shards" in fields else 400 << 10
    large = [ref.model_copy(update={"size": size}) for ref in dataset.shards]
    dataset = replace(dataset, shards=tuple(large))
    rule = open_cache(store, data, tmp_path, dataset, world=world)._rule
    big = large[0].model_copy(update={"size": 2 << 20})
    assert rule.whole(big) is whole
    assert rule.whole(large[0].model_copy(update={"size": 9}))
    assert not rule.whole(big, scattered=True)


def test_few_commits_tell_how_large_shards_are(stored, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dataset of 600,000 shards has as many commits, each a request."""
    store, dataset = stored
    monkeypatch.setattr(opening, "_SAMPLE", 3)
    read = []
    store.fault = lambda operation, key: read.append(key)
    open_cache(store, DataConfig(fetch_threads=8), tmp_path, dataset, world=1)
    assert len(read) == 3


@pytest.mark.parametrize(("streams", "fits"), [(1, True), (3, False)])
def test_each_dataset_of_a_mixture_has_a_block_of_its_own(stored, tmp_path, streams: int, fits: bool) -> None:
    """Two shards of 400 KiB fit into a MiB, six do not."""
    store, dataset = stored
    dataset = replace(dataset, shards=tuple(ref.model_copy(update={"size": 400 << 10}) for ref in dataset.shards))
    data = DataConfig(block_shards=2, cache_mib=1)
    assert open_cache(store, data, tmp_path, dataset, world=1, streams=streams)._rule.fits is fits


@pytest.mark.parametrize(("size", "most"), [(1 << 20, 4 << 20), (2 << 20, 1024 << 20)], ids=["small", "large"])
def test_small_shards_are_whole_ones_ahead_too(stored, tmp_path, size: int, most: int) -> None:
    """Two ranks without a disk read large shards in ranges, which lie outside of the cache, and small ones whole: more
    of them than the cache holds would drive each other out before they are read."""
    store, dataset = stored
    dataset = replace(dataset, shards=tuple(ref.model_copy(update={"size": size}) for ref in dataset.shards))
    data = DataConfig(fetch_threads=8, block_shards=2, cache_mib=8)
    cache = open_cache(store, data, tmp_path, dataset, world=2)
    assert cache._rule.whole(dataset.shards[0]) is (size == 1 << 20)
    assert cache.most_ahead(1024 << 20) == most
