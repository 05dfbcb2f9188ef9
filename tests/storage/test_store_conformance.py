"""What every object store must do: the same tests on the in-memory store and on a real S3 server."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from synfarm.storage import minio_store
from synfarm.storage.memory import MemoryStore
from synfarm.storage.probe import UnprovenStore, probe, require_proven
from synfarm.storage.protocol import ObjectInfo, ObjectMissing, ObjectStore, StoreDamaged


@pytest.fixture(params=["memory", pytest.param("s3", marks=pytest.mark.integration)])
def any_store(request: pytest.FixtureRequest) -> ObjectStore:
    return MemoryStore() if request.param == "memory" else request.getfixturevalue("store")


def test_put_get_head_overwrite_delete(any_store: ObjectStore) -> None:
    info = any_store.put("a/b", b"first")
    assert (info.key, info.size) == ("a/b", 5)
    any_store.put("a/b", b"second!")
    found = any_store.head("a/b")
    assert found is not None
    assert (found.key, found.size) == ("a/b", 7)
    assert found.etag not in {"", info.etag}
    assert any_store.get("a/b") == b"second!"
    any_store.delete("a/b")
    any_store.delete("a/b")
    assert any_store.head("a/b") is None
    with pytest.raises(ObjectMissing):
        any_store.get("a/b")
    with pytest.raises(ObjectMissing):
        any_store.get_range("a/b", 0, 1)


def test_empty_object(any_store: ObjectStore) -> None:
    assert any_store.create("empty", b"")
    assert any_store.get("empty") == b""
    assert any_store.get_range("empty", 0, 0) == b""


def test_ranges(any_store: ObjectStore) -> None:
    data = bytes(range(256)) * 40
    any_store.put("r", data)
    for offset, length in ((0, 1), (0, len(data)), (100, 5000), (len(data) - 1, 1), (7, 0)):
        assert any_store.get_range("r", offset, length) == data[offset : offset + length]
    for offset, length in ((len(data) - 1, 2), (len(data), 1), (0, len(data) + 1)):
        with pytest.raises(StoreDamaged):
            any_store.get_range("r", offset, length)


def test_create_after_create(any_store: ObjectStore) -> None:
    assert any_store.create("c", b"mine")
    assert any_store.create("c", b"mine"), "the same bytes: this writer won, perhaps in an earlier try"
    assert not any_store.create("c", b"theirs")
    assert any_store.get("c") == b"mine"
    any_store.delete("c")
    assert any_store.create("c", b"theirs")


def test_500_rounds_of_racing_writers(any_store: ObjectStore) -> None:
    """Two writers a round, sixteen rounds at once: SeaweedFS makes a loser wait about a second for the key's lock."""
    writers, rounds, at_once = 2, 500, 16
    gates = [threading.Barrier(writers) for _ in range(at_once)]

    def run(lane_and_writer: tuple[int, int]) -> list[bool]:
        lane, writer = lane_and_writer
        won = []
        for number in range(lane, rounds, at_once):
            gates[lane].wait(timeout=60)
            won.append(any_store.create(f"race/{number:03d}", b"%d" % writer))
        return won

    sides = [(lane, writer) for lane in range(at_once) for writer in range(writers)]
    with ThreadPoolExecutor(len(sides)) as threads:
        results = dict(zip(sides, threads.map(run, sides), strict=True))
    for number in range(rounds):
        lane, turn = number % at_once, number // at_once
        won = [results[lane, writer][turn] for writer in range(writers)]
        assert sum(won) == 1, f"round {number}: {won}"
        assert any_store.get(f"race/{number:03d}") == b"%d" % won.index(True)


def test_listing_beyond_one_page(any_store: ObjectStore) -> None:
    keys = [f"l/{number // 400:05d}/{number:08d}.json" for number in range(1100)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda key: any_store.put(key, b"x"), reversed(keys)))
    any_store.put("m", b"x")
    assert [info.key for info in any_store.list("l/")] == keys
    assert [info.key for info in any_store.list("l/", start_after=keys[40])] == keys[41:]
    assert [info.key for info in any_store.list("l/", start_after=keys[40], limit=3)] == keys[41:44]
    assert [info.key for info in any_store.list("l/", limit=1050)] == keys[:1050]
    assert list(any_store.list("l/", limit=0)) == []
    assert list(any_store.list("l/", start_after=keys[-1])) == []
    assert [info.key for info in any_store.list("l/00001/0000040")] == keys[400:410]
    assert list(any_store.list_folders("l/")) == ["00000", "00001", "00002"]
    assert list(any_store.list_folders("nothing/")) == []


@pytest.mark.parametrize("page", [1, 2, 3, 1000])
def test_listing_in_small_pages(any_store: ObjectStore, page: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files and folders mixed: neither is lost, named twice or looked for without end where pages meet."""
    monkeypatch.setattr(minio_store, "_PAGE", page)
    names = ["a/1", "a/2", "b", "c", "d/e/1", "d/e/2", "f g+%", "h", "i/1", "j"]
    for name in names:
        any_store.put(f"p/{name}", b"x")
    assert [info.key for info in any_store.list("p/")] == [f"p/{name}" for name in names]
    assert [info.key for info in any_store.list("p/", start_after="p/b", limit=4)] == [f"p/{n}" for n in names[3:7]]
    assert list(any_store.list_folders("p/")) == ["a", "d", "i"]


def test_probe_passes(any_store: ObjectStore) -> None:
    assert probe(any_store) == {}
    assert list(any_store.list("probe/")) == []


class IgnoresCondition(MemoryStore):
    """Overwrites where it should refuse, as servers without If-None-Match do."""

    def create(self, key: str, data: bytes, *, content_type: str = "application/json") -> bool:
        return self.put(key, data).size == len(data)


class IgnoresStartAfter(MemoryStore):
    def list(self, prefix: str, *, start_after: str | None = None, limit: int | None = None):  # type: ignore[no-untyped-def]
        return super().list(prefix, limit=limit)


class IgnoresRange(MemoryStore):
    def get_range(self, key: str, offset: int, length: int) -> bytes:
        return self.get(key)


class SameTag(MemoryStore):
    def head(self, key: str) -> ObjectInfo | None:
        info = super().head(key)
        return info and ObjectInfo(key, info.size, "tag", info.modified)


@pytest.mark.parametrize(
    ("store", "name"),
    [
        (IgnoresCondition(), "create-only"),
        (IgnoresStartAfter(), "start-after"),
        (IgnoresRange(), "range"),
        (SameTag(), "ETag"),
    ],
)
def test_probe_names_what_a_store_lacks(store: ObjectStore, name: str) -> None:
    with pytest.raises(UnprovenStore, match=name):
        require_proven(store)
    assert [lacking.split()[0] for lacking in require_proven(store, allow_unproven=True)] == [
        {"range": "range"}.get(name, name)
    ]


def test_a_file_in_several_parts(any_store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minio_store, "_FILE_PART", 5 * 2**20)
    path = tmp_path / "large"
    path.write_bytes(bytes(range(256)) * 24_000)  # two parts
    any_store.put("f", b"older")
    assert any_store.put_file("f", path).size == path.stat().st_size
    assert any_store.get("f") == path.read_bytes()
    path.write_bytes(b"")
    any_store.put_file("f", path)
    assert any_store.get("f") == b""
    with pytest.raises(FileNotFoundError):
        any_store.put_file("g", tmp_path / "none")
    assert any_store.head("g") is None


@pytest.mark.parametrize("size", [0, 1, 5 * 2**20, 11 * 2**20 + 3])
def test_a_view_of_memory_goes_up_in_parts(any_store: ObjectStore, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(minio_store, "_FILE_PART", 5 * 2**20)
    data = (bytes(range(251)) * (size // 251 + 1))[: size + 2]
    assert any_store.put("v", memoryview(data)[2:]).size == size
    assert any_store.get("v") == data[2:]


def test_the_store_tells_the_time_by_which_its_objects_age(any_store: ObjectStore) -> None:
    before = any_store.now()
    any_store.put("t", b"x")
    found, after = any_store.head("t"), any_store.now()
    assert found is not None
    second = timedelta(seconds=1)
    assert before - second <= found.modified <= after + second
