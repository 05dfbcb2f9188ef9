"""Shards on a node's disk: bounded, shared, and never worse than the store."""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path

import pytest

from synfarm_trainer.data.cache import disk as disk_module
from synfarm_trainer.data.cache.counts import ReadCounts
from synfarm_trainer.data.cache.disk import DiskCache
from synfarm_trainer.data.cache.locks import try_lock
from synfarm_trainer.data.decode import decode_group


def files(folder: Path) -> dict[str, int]:
    return {path.stem: path.stat().st_size for path in (folder / "shards").glob("??/*.tar")}


def row_of(dataset, place: int):
    return dataset.rows[8 * place]


def pictures(cache, dataset, place: int) -> list[bytes]:
    group = decode_group(*cache.read(dataset.shards[place], row_of(dataset, place)), range(4))
    assert group.refilled == ()
    return [image.tobytes() for image in group.images]


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the disk of the tests has left."""
    monkeypatch.setattr(disk_module, "_SPARE_SHARE", 0.0)


def test_a_shard_is_fetched_once_for_all_ranks_of_a_node_and_for_their_next_start(stored, on_disk) -> None:
    store, dataset = stored
    first = on_disk(store)
    found = pictures(first, dataset, 0)
    assert first.held_bytes == 0, "it lies on the disk, not in memory"
    for cache in (first, on_disk(store), on_disk(store)):
        assert pictures(cache, dataset, 0) == found
        assert cache.get(dataset.shards[0]).intact
    assert len(store.whole) == 1
    assert first.counts.told() == {
        **dict.fromkeys(first.counts.told(), 0),
        "hits": 1,
        "misses": 1,
        "requests": 1,
        "bytes": dataset.shards[0].size,
    }


def test_the_disk_keeps_to_its_bound_by_dropping_what_was_used_longest_ago(stored, on_disk, tmp_path: Path) -> None:
    store, dataset = stored
    sizes = [ref.size for ref in dataset.shards]
    cache = on_disk(store, max(sizes) * 3)
    for place in (0, 1, 2):
        pictures(cache, dataset, place)
        path = next((tmp_path / "shards").glob(f"??/{dataset.shards[place].sha256}.tar"))
        os.utime(path, (1e9 + place, 1e9 + place))
    pictures(on_disk(store, 1 << 30), dataset, 0)  # another rank uses the oldest
    for place in (3, 4, 5, 6, 7):
        pictures(cache, dataset, place)
        kept = files(tmp_path)
        assert sum(kept.values()) <= max(sizes) * 3
        if place == 3:
            assert dataset.shards[0].sha256 in kept
            assert dataset.shards[1].sha256 not in kept
    assert cache.counts.told()["evictions"] >= 5
    assert len(store.whole) == 8


def test_a_shard_larger_than_the_bound_stays_in_memory(stored, on_disk, tmp_path: Path) -> None:
    store, dataset = stored
    cache = on_disk(store, dataset.shards[0].size - 1)
    assert pictures(cache, dataset, 0) == pictures(cache, dataset, 0)
    assert (len(store.whole), files(tmp_path), cache.counts.told()["disk_falls"]) == (1, {}, 1)
    assert cache.held_bytes == dataset.shards[0].size


@pytest.mark.parametrize("how", ["rotten", "cut"])
def test_what_rots_on_the_disk_is_fetched_again_and_is_no_damage_at_rest(stored, on_disk, tmp_path, how: str) -> None:
    store, dataset = stored
    found = pictures(on_disk(store), dataset, 0)
    row, path = row_of(dataset, 0), next((tmp_path / "shards").glob("??/*.tar"))
    data = bytearray(path.read_bytes())
    if how == "rotten":
        data[row.members[1].offset + 100] ^= 255
    path.write_bytes(data if how == "rotten" else data[: row.offset + row.length // 2])
    cache = on_disk(store)
    assert pictures(cache, dataset, 0) == found
    assert path.read_bytes() == store.get(dataset.shards[0].key)
    assert (cache.counts.told()["requests"], cache.counts.told()["disk_damaged"]) == (1, 1)
    path.write_bytes(bytes(len(data)))
    assert cache.get(dataset.shards[0]).data == path.read_bytes() == store.get(dataset.shards[0].key)


@pytest.mark.parametrize("call", ["utime", "pread"])
def test_what_the_disk_does_not_give_is_fetched_once_and_not_for_each_group(
    stored, on_disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """The shard is another user's, whose times only they may set; or a sector of it is bad."""
    store, dataset = stored
    first = on_disk(store)
    shard, row = dataset.shards[0], dataset.rows[0]
    first.get(shard)
    path = first._disk._path(shard)
    os.utime(path, (1, 1))
    os.link(path, tmp_path / "kept")  # so that no new file has its number
    mine, bad = getattr(os, call), path.stat().st_ino

    def refused(handle: int, *rest: object) -> object:
        if os.fstat(handle).st_ino == bad:
            raise OSError(errno.EPERM if call == "utime" else errno.EIO, "no")
        return mine(handle, *rest)

    monkeypatch.setattr(disk_module.os, call, refused)
    again = on_disk(store)
    for _ in range(3):
        assert decode_group(*again.read(shard, row), range(4)).refilled == ()
    assert len(store.whole) == (1 if call == "utime" else 2)


def test_a_shard_damaged_at_rest_does_not_come_to_the_disk(stored, on_disk, tmp_path: Path) -> None:
    store, dataset = stored
    row, ref = row_of(dataset, 0), dataset.shards[0]
    data = bytearray(store.get(ref.key))
    data[row.members[2].offset : row.members[2].offset + 40] = bytes(40)
    store.put(ref.key, bytes(data))
    cache = on_disk(store)
    for _ in range(2):
        assert decode_group(*cache.read(ref, row), range(4)).refilled == ((2, 3),)
    assert files(tmp_path) == {}
    assert cache.held_bytes == ref.size


def test_a_full_disk_is_made_room_on_else_memory_takes_over_and_tells_it_once(
    stored, on_disk, tmp_path, monkeypatch: pytest.MonkeyPatch, logged, room
) -> None:
    store, dataset = stored
    lines, left, write = logged(disk_module), [0], os.pwrite
    monkeypatch.setattr(disk_module, "_REST_SECONDS", 0.0)

    def full(handle: int, data: bytes, offset: int) -> int:
        if len(data) > 100 and left[0] > 0:
            left[0] -= 1
            # Half of it still goes in, as on a real disk.
            write(handle, bytes(data)[: len(data) // 2], offset)
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(handle, data, offset)

    monkeypatch.setattr(disk_module.os, "pwrite", full)
    cache = on_disk(store)
    pictures(cache, dataset, 0)
    left[0] = 1
    pictures(cache, dataset, 1)
    assert set(files(tmp_path)) == {dataset.shards[1].sha256}, "the older one made way"
    assert (cache.counts.told()["evictions"], lines) == (1, [])
    left[0] = 1 << 30
    expected = [pictures(cache, dataset, place) for place in (2, 3)]
    assert [line["event"] for line in lines] == ["shards_stay_in_memory"]
    assert "No space left" in lines[0]["error"] or "is full" in lines[0]["error"]
    assert cache.counts.told()["disk_falls"] == 2
    assert [pictures(cache, dataset, place) for place in (2, 3)] == expected
    assert len(store.whole) == 4
    assert list((tmp_path / "shards" / "new").iterdir()) == []
    left[0] = 0
    pictures(cache, dataset, 4)
    assert dataset.shards[4].sha256 in files(tmp_path), "room again"


def test_a_limit_on_the_size_of_files_is_no_error_of_the_run(stored, on_disk, tmp_path: Path) -> None:
    store, dataset = stored
    cache, before = on_disk(store), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (dataset.shards[0].size // 2, before[1]))
    try:
        pictures(cache, dataset, 0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (files(tmp_path), cache.counts.told()["disk_falls"]) == ({}, 1)
    assert list((tmp_path / "shards" / "new").iterdir()) == []


def test_the_last_of_the_disk_is_left_to_others(stored, on_disk, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, dataset = stored
    system = os.statvfs(tmp_path)
    monkeypatch.setattr(disk_module, "_SPARE_SHARE", 1.0)
    monkeypatch.setattr(disk_module, "_SPARE_BYTES", system.f_bavail * system.f_frsize + (1 << 40))
    cache = on_disk(store)
    pictures(cache, dataset, 0)
    assert (files(tmp_path), cache.counts.told()["disk_falls"]) == ({}, 1)


def test_a_folder_that_cannot_be_is_no_error_of_the_run(stored, on_disk, tmp_path: Path) -> None:
    store, dataset = stored
    (tmp_path / "shards").write_text("a file")
    cache = on_disk(store)
    assert pictures(cache, dataset, 0) == pictures(cache, dataset, 0)
    assert (len(store.whole), cache.counts.told()["disk_falls"]) == (1, 1)


def test_drafts_of_the_dead_are_swept_and_those_of_the_living_count(stored, tmp_path: Path, room) -> None:
    store, dataset = stored
    (tmp_path / "new").mkdir()
    dead, living = tmp_path / "new" / "dead", tmp_path / "new" / "living"
    for path in (dead, living):
        path.write_bytes(bytes(1000))
    first = dataset.shards[0]
    with living.open("r+b") as file:
        assert try_lock(file.fileno(), 0)
        cache = DiskCache(tmp_path, first.size + 999, ReadCounts())
        assert not cache.put(first, store.get(first.key))
        assert (dead.exists(), living.exists()) == (False, True)
    cache = DiskCache(tmp_path, first.size + 999, ReadCounts())
    assert cache.put(first, store.get(first.key))
    assert not living.exists()


def test_a_shard_that_is_being_written_is_no_leftover(stored, tmp_path, monkeypatch: pytest.MonkeyPatch, room) -> None:
    """Another rank looks for room in that moment, and finds none beside it."""
    store, dataset = stored
    first, second = (ref.model_copy() for ref in dataset.shards[:2])
    mine, other = (DiskCache(tmp_path, first.size + second.size - 1, ReadCounts()) for _ in range(2))
    write, taken = os.pwrite, []

    def meanwhile(handle: int, data: bytes, offset: int) -> int:
        if len(data) > 100 and not taken:
            taken.append(False)
            taken[0] = other.put(second, store.get(second.key))
        return write(handle, data, offset)

    monkeypatch.setattr(disk_module.os, "pwrite", meanwhile)
    assert mine.put(first, store.get(first.key))
    assert (taken, mine.holds(first), other.holds(second)) == ([False], True, False)


@pytest.mark.parametrize("text", ["no number", f"{1 << 40:020d}"])
def test_a_count_that_was_lost_or_is_too_high_is_made_anew(stored, on_disk, tmp_path: Path, text: str) -> None:
    store, dataset = stored
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "lock").write_text(text)
    cache = on_disk(store)
    pictures(cache, dataset, 0)
    pictures(cache, dataset, 1)
    assert len(files(tmp_path)) == 2
    assert int((tmp_path / "shards" / "lock").read_text()) == sum(files(tmp_path).values())
