"""What a run reads of a manifest: columns at once, commits when needed; what is damaged is named, with its cure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs

from synfarm.contracts import layout
from synfarm.contracts.manifests import Ended
from synfarm.storage.memory import MemoryStore
from synfarm.storage.protocol import StoreUnavailable
from synfarm_trainer.data.fetch import DatasetDamaged, FetchStopped
from synfarm_trainer.data.manifest import Dataset, DatasetInvalid, Increment, load_dataset


class Watched(MemoryStore):
    """Remembers what was read, and can be away for some reads of commits."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[str] = []
        self.away = 0

    def get(self, key: str) -> bytes:
        self.read.append(key)
        if "/commits/" in key and self.away:
            self.away -= 1
            raise StoreUnavailable(key)
        return super().get(key)

    def commits(self) -> list[int]:
        return [layout.parse_unit(key)[2] for key in self.read if "/commits/" in key]


def quick(dataset: Dataset) -> Dataset:
    assert dataset.shelf is not None
    dataset.shelf._wait = 0.001
    return dataset


def test_columns_give_the_data_set_that_commits_give(write_dataset: Callable[..., Any]) -> None:
    """Nothing is read for the plan but the end record and columns; a commit when its shard is first asked for."""
    by_commits, by_columns = MemoryStore(), Watched()
    old = load_dataset(by_commits, [write_dataset(by_commits, captions=21, per_unit=6)], views=4)
    ref = write_dataset(by_columns, captions=21, per_unit=6, columns=True)
    new = load_dataset(by_columns, [ref], views=4)
    assert by_columns.read == [layout.ended(ref.job, 1)]
    for name in ("job", "index", "shard", "concept"):
        assert np.array_equal(getattr(old.table, name)[:], getattr(new.table, name)[:]), name
    assert (old.concepts, old.left_out, [*old.shard_of]) == (new.concepts, new.left_out, [*new.shard_of])
    assert [new.images_of(row) for row in range(21)] == [4] * 21
    assert new.rows[7] == old.rows[7]
    assert new.rows[8] == old.rows[8]
    assert by_columns.commits() == [1]
    assert [*new.rows] == [*old.rows]
    assert [*new.shards] == [*old.shards]
    assert by_columns.commits() == [1, 0, 2, 3]


@pytest.mark.parametrize("there", ["whole", "half", "another's", "nothing"])
def test_columns_that_came_after_the_part_was_named_are_read_in_place_of_commits(
    write_dataset: Callable[..., Any], there: str
) -> None:
    store, other = Watched(), MemoryStore()
    ref = write_dataset(store, captions=21, per_unit=6, columns=True)
    write_dataset(other, captions=21, per_unit=6, size=40, columns=True)
    (part,) = Ended.from_bytes(store.get(layout.ended(ref.job, 1))).parts
    named = Increment(ref.job, 1, (part.model_copy(update={"columns": None}),))
    usual = load_dataset(store, [ref], views=4)
    data = store.get(part.columns.key)
    if there == "nothing":
        store.delete(part.columns.key)
    else:
        of = {"whole": data, "half": data[: len(data) // 2], "another's": other.get(part.columns.key)}
        store.put(part.columns.key, of[there])
    store.read.clear()
    late = load_dataset(store, [named], views=4)
    assert sorted(store.commits()) == ([] if there == "whole" else [0, 1, 2, 3])
    for name in ("job", "index", "shard", "concept"):
        assert np.array_equal(getattr(late.table, name)[:], getattr(usual.table, name)[:]), name
    assert [*late.rows] == [*usual.rows]


def test_a_manifest_of_an_older_version_says_so_in_the_log(write_dataset: Callable[..., Any]) -> None:
    for columns in (False, True):
        store = MemoryStore()
        ref = write_dataset(store, columns=columns)
        with capture_logs() as logs:
            load_dataset(store, [ref], views=2)
        assert [line["parts"] for line in logs if line["event"] == "manifest_without_columns"] == [1] * (not columns)


class Noisy(MemoryStore):
    """The first reads of some objects come with a wrong byte in their middle."""

    def __init__(self) -> None:
        super().__init__()
        self.spoiled: dict[str, int] = {}

    def _seen(self, key: str, data: bytes) -> bytes:
        for name in [name for name, left in self.spoiled.items() if left and key.endswith(name)]:
            self.spoiled[name] -= 1
            half = len(data) // 2
            return data[:half] + bytes([data[half] ^ 1]) + data[half + 1 :]
        return data

    def get(self, key: str) -> bytes:
        return self._seen(key, super().get(key))

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        return self._seen(key, super().get_range(key, offset, length))


@pytest.mark.parametrize(("name", "columns"), [("safetensors", True), ("0001.json", True), ("jsonl", False)])
def test_a_manifest_that_was_damaged_on_its_way_is_read_again(
    write_dataset: Callable[..., Any], name: str, columns: bool
) -> None:
    store = Noisy()
    ref = write_dataset(store, columns=columns)
    store.spoiled = {name: 2}
    assert len(load_dataset(store, [ref], views=2).rows) == 64
    assert store.spoiled == {name: 0}, "that is the object"


@pytest.mark.parametrize("damage", ["changed", "gone", "header", "short"])
def test_damaged_columns_are_told(write_dataset: Callable[..., Any], damage: str) -> None:
    store = MemoryStore()
    ref = write_dataset(store, columns=True)
    key = layout.manifest_columns(ref.job, 1, 0)
    data = store.get(key)
    changed = {
        "header": data.replace(b"U8", b"I8", 1),
        "short": data[: len(data) // 2],
        "changed": data.replace(b'["c"]', b'["d"]'),
    }
    if damage == "gone":
        store.delete(key)
    else:
        store.put(key, changed[damage])
    with pytest.raises(DatasetInvalid, match=f"{key}: .*synfarm verify {ref.job}"):
        load_dataset(store, [ref], views=2, templates=["c"])


@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_a_commit_that_is_not_the_manifests_ends_the_run_by_name(
    write_dataset: Callable[..., Any], damage: str
) -> None:
    store = MemoryStore()
    ref = write_dataset(store, columns=True)
    dataset = quick(load_dataset(store, [ref], views=2))
    key = layout.commit(ref.job, 1)
    if damage == "gone":
        store.delete(key)
    else:
        store.put(key, store.get(key).replace(b'"worker":"test"', b'"worker":"tost"'))
    assert dataset.rows[0].index == 0
    with pytest.raises(DatasetDamaged, match=rf"commit {key} is .*`synfarm verify {ref.job}` .*restore it"):
        dataset.rows[9]


def test_a_store_that_is_away_is_waited_for_until_the_reader_is_closed(write_dataset: Callable[..., Any]) -> None:
    store = Watched()
    dataset = quick(load_dataset(store, [write_dataset(store, columns=True)], views=2))
    store.away = 5
    assert dataset.rows[0].index == 0
    assert store.commits() == [0] * 6
    store.away = 10**9
    dataset.close()
    with pytest.raises(FetchStopped):
        dataset.rows[9]


def test_commits_are_held_up_to_a_bound(write_dataset: Callable[..., Any]) -> None:
    store = Watched()
    dataset = load_dataset(store, [write_dataset(store, columns=True)], views=2, commits=2)
    for row in (0, 8, 1, 16, 2, 9, 17):
        assert dataset.rows[row].index == row
    assert store.commits() == [0, 1, 2, 1, 2]


def test_a_job_that_is_named_twice_is_refused(write_dataset: Callable[..., Any]) -> None:
    store = MemoryStore()
    ref = write_dataset(store, columns=True)
    with pytest.raises(ValueError, match="a caption id occurs twice"):
        load_dataset(store, [ref, ref], views=2)


def test_too_few_images_are_told_by_the_first_caption(write_dataset: Callable[..., Any]) -> None:
    store = MemoryStore()
    ref = write_dataset(store, captions=8, images=2, columns=True)
    with pytest.raises(DatasetInvalid, match=rf"data\.views: caption {ref.job}-0000000000 has 2 images, .* asks for 3"):
        load_dataset(store, [ref], views=3)


@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_a_damaged_part_is_told(write_dataset: Callable[..., Any], damage: str) -> None:
    store = MemoryStore()
    ref = write_dataset(store)
    (part,) = Ended.from_bytes(store.get(layout.ended(ref.job, ref.generation))).parts
    if damage == "gone":
        store.delete(part.key)
    else:
        store.put(part.key, store.get(part.key).replace(b'"groups":8', b'"groups":7', 1))
    with pytest.raises(DatasetInvalid, match=f"{part.key}: .*synfarm verify {ref.job}"):
        load_dataset(store, [ref], views=2)
