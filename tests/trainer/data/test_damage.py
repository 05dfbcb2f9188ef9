"""Damage in transit, damage at rest, and a store that is away."""

from __future__ import annotations

import pytest

from synfarm.storage.memory import MemoryStore
from synfarm.storage.protocol import StoreUnavailable
from synfarm_trainer.data.decode import decode_group, read_caption
from synfarm_trainer.data.fetch import DatasetDamaged, ShardCache
from synfarm_trainer.data.manifest import Dataset, load_dataset


class Noisy(MemoryStore):
    """Spoils the next reads in its own way."""

    def __init__(self) -> None:
        super().__init__()
        self.spoil = 0
        self.reads = 0

    def get(self, key: str) -> bytes:
        return self._as_it_comes(key, super().get(key))

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        return self._as_it_comes(key, super().get_range(key, offset, length))

    def _as_it_comes(self, key: str, data: bytes) -> bytes:
        if not key.endswith(".tar"):
            return data
        self.reads += 1
        if self.spoil:
            self.spoil -= 1
            at = self.place(len(data))
            return data[:at] + bytes([data[at] ^ 255]) + data[at + 1 :]
        return data

    def place(self, length: int) -> int:
        """Of the byte that is another."""
        return 700 + self.reads


class AlwaysItsMiddle(Noisy):
    """What lies between spoils the same place of every answer."""

    def place(self, length: int) -> int:
        return length // 2


@pytest.fixture
def noisy(write_dataset) -> tuple[Noisy, Dataset]:
    store = Noisy()
    return store, load_dataset(store, [write_dataset(store, captions=16)], views=4)


def spoil_image(store: Noisy, dataset: Dataset, row: int, k: int) -> None:
    member = dataset.rows[row].members[k]
    key = dataset.shards[dataset.shard_of[row]].key
    data = bytearray(store.get(key))
    data[member.offset : member.offset + 40] = bytes(40)
    store.put(key, bytes(data))


def test_damage_in_transit_is_fetched_again_until_right(noisy) -> None:
    store, dataset = noisy
    store.spoil = 5
    shard = ShardCache(store, 1 << 20, wait_seconds=0.001).get(dataset.shards[0])
    assert shard.intact
    assert store.reads == 7, "one whole, then three times in two pieces"


def test_what_spoils_every_answer_alike_is_not_taken_for_damage_at_rest(write_dataset) -> None:
    """Several times the same wrong bytes of a whole shard prove nothing: those in pieces are wrong elsewhere."""
    store = AlwaysItsMiddle()
    dataset = load_dataset(store, [write_dataset(store, captions=16)], views=4)
    store.spoil = 12
    assert ShardCache(store, 1 << 20, wait_seconds=0.001).get(dataset.shards[0]).intact
    assert not store.spoil


def test_a_store_that_is_away_is_waited_for(noisy) -> None:
    store, dataset = noisy
    ref = dataset.shards[0]
    left = [StoreUnavailable("away")] * 6

    def fault(operation: str, key: str) -> None:
        if left:
            raise left.pop()

    store.fault = fault
    assert ShardCache(store, 1 << 20, wait_seconds=0.001).get(ref).intact
    assert not left


def test_an_image_damaged_at_rest_is_replaced_by_the_next_of_its_group(noisy) -> None:
    """Pitfall 41: replaced by a fixed rule, and told; what a run makes of it: ``test_images_of_runs.py``."""
    store, dataset = noisy
    good = decode_group(ShardCache(store, 1 << 20).get(dataset.shards[0]), dataset.rows[1], range(4))
    spoil_image(store, dataset, 1, 3)
    shard = ShardCache(store, 1 << 20, wait_seconds=0.001).get(dataset.shards[0])
    assert not shard.intact
    group = decode_group(shard, dataset.rows[1], range(4))
    assert group.refilled == ((3, 0),)
    assert [image.tobytes() for image in group.images] == [good.images[k].tobytes() for k in (0, 1, 2, 0)]
    assert decode_group(shard, dataset.rows[0], range(4)).refilled == ()


def test_a_group_without_a_whole_image_ends_the_run(noisy) -> None:
    """Pitfall 41: nothing is left to replace it with."""
    store, dataset = noisy
    for k in range(4):
        spoil_image(store, dataset, 1, k)
    shard = ShardCache(store, 1 << 20, wait_seconds=0.001).get(dataset.shards[0])
    with pytest.raises(DatasetDamaged, match=r"every image of caption .*0000000001 is damaged"):
        decode_group(shard, dataset.rows[1], range(4))


def test_a_caption_whose_words_are_damaged_ends_a_run_that_reads_them(noisy) -> None:
    store, dataset = noisy
    good = ShardCache(store, 1 << 20).get(dataset.shards[0])
    assert read_caption(good, dataset.rows[1]) == "a thing of kind 1"
    spoil_image(store, dataset, 1, -1)
    shard = ShardCache(store, 1 << 20, wait_seconds=0.001).get(dataset.shards[0])
    with pytest.raises(
        DatasetDamaged, match=r"0000000001\.json in .* is not the JSON of its caption: restore the shard"
    ):
        read_caption(shard, dataset.rows[1])
    assert read_caption(shard, dataset.rows[2]) == "a thing of kind 2"


def test_a_missing_shard_is_named(noisy) -> None:
    store, dataset = noisy
    store.delete(dataset.shards[1].key)
    with pytest.raises(DatasetDamaged, match="is gone from the store"):
        ShardCache(store, 1 << 20, wait_seconds=0.001).get(dataset.shards[1])


def test_the_cache_is_bounded_and_keeps_what_was_used_last(noisy) -> None:
    store, dataset = noisy
    first, second = dataset.shards
    cache = ShardCache(store, first.size + second.size - 1)
    cache.get(first)
    cache.get(first)
    assert store.reads == 1
    cache.get(second)
    assert cache.held_bytes == second.size
    cache.get(second)
    assert store.reads == 2
    cache.get(first)
    assert store.reads == 3
