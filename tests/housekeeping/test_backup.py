"""Backups of jobs: whole at whatever moment they are made, proven on both ways, begun again after every kind of end."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.commits import Commit
from synfarm.contracts.manifests import Counts, ManifestLine, Progress, read_part, write_part
from synfarm.contracts.origins import CaptionFileRef
from synfarm.housekeeping.backup.backing_up import back_up
from synfarm.housekeeping.backup.index import index_key
from synfarm.housekeeping.backup.restoring import restore
from synfarm.housekeeping.backup.shelf import BackupFailed, BackupRefused, FolderShelf, StoreShelf, open_shelf
from synfarm.housekeeping.verification.verifying import verify
from synfarm.settings import ExportSettings, StoreSettings
from synfarm.storage.memory import MemoryStore
from synfarm.storage.protocol import ObjectMissing, ObjectStore

JOB = "01k" + "0" * 22 + "a"


@pytest.fixture
def shelf(tmp_path: Path) -> FolderShelf:
    return FolderShelf(tmp_path / "backup")


def objects(store: ObjectStore) -> dict[str, bytes]:
    return {info.key: store.get(info.key) for info in store.list("")}


def test_an_ended_job_comes_back_as_it_was(memory: MemoryStore, made: Any, shelf: FolderShelf) -> None:
    made.complete(dead=[1])
    memory.create(layout.card(JOB), b"# card")
    (head,) = back_up(memory, JOB, shelf)
    assert not head.active
    other = MemoryStore()
    (done,) = restore(shelf, other)
    assert (done.was_there, done.objects) == (False, head.objects)
    assert objects(other) == objects(memory)
    assert verify(other, JOB).clean


class Writer:
    """A farm in small steps: one object each, in the order in which the real one writes them."""

    def __init__(self, made: Any) -> None:
        self._made, self._store = made, made.store
        self._steps = self._all()

    def step(self) -> None:
        next(self._steps, None)

    def _all(self) -> Any:
        made, counts = self._made, Counts()
        for unit in range(made.spec.units):
            made.write_captions(unit)
            yield
            shard = made.shard(unit)
            if shard is not None:
                made.upload(unit, shard)
            yield
            commit = made.commit(unit)
            yield
            counts += ManifestLine.of(commit).counts
            if unit % 2:
                part = write_part([made.lines[unit - 1], made.lines[unit]])
                self._store.create(layout.manifest_part(JOB, 1, unit // 2), part)
                yield
            progress = Progress(job=JOB, watermark=unit + 1, counts=counts, parts=(unit + 1) // 2, as_of=utc_now())
            self._store.put(layout.progress(JOB), progress.to_bytes())
            yield
        made.end()


@pytest.mark.parametrize("before", range(0, 20, 3))
def test_a_backup_made_while_the_farm_works_claims_nothing_that_it_lacks(
    memory: MemoryStore, made: Any, shelf: FolderShelf, before: int
) -> None:
    """Between any two requests of the backup the farm writes one object."""
    writer, inside = Writer(made), [False]
    for _ in range(before):
        writer.step()

    def at_work(operation: str, key: str) -> None:
        if not inside[0]:
            inside[0] = True
            writer.step()
            inside[0] = False

    memory.fault = at_work
    (head,) = back_up(memory, JOB, shelf, threads=1)
    memory.fault = None
    other = MemoryStore()
    restore(shelf, other)
    committed = set()
    for info in other.list(layout.commits_prefix(JOB)):
        commit = Commit.from_bytes(other.get(info.key))
        assert commit.shard is None or other.head(commit.shard.key) is not None
        assert other.head(layout.captions(JOB, commit.unit)) is not None
        committed.add(commit.unit)
    parts = [read_part(other.get(info.key)) for info in other.list(layout.manifests_prefix(JOB))]
    assert {line.unit for part in parts for line in part} <= committed
    try:
        progress = Progress.from_bytes(other.get(layout.progress(JOB)))
    except ObjectMissing:
        progress = None
    if progress is not None:
        assert set(range(progress.watermark)) <= committed
        assert len(parts) >= progress.parts
    assert head.active is (other.head(layout.active(JOB)) is not None)
    assert verify(other, JOB).clean


def test_begun_again_it_copies_what_is_new_and_the_restored_job_is_the_newer_one(
    memory: MemoryStore, made: Any, shelf: FolderShelf
) -> None:
    made.commit(0)
    (first,) = back_up(memory, JOB, shelf)
    assert first.active
    for unit in range(1, made.spec.units):
        made.commit(unit)
    made.end()
    reads: list[str] = []
    memory.fault = lambda operation, key: reads.append(key) if operation == "get" else None
    (second,) = back_up(memory, JOB, shelf)
    assert not second.active
    tar = made.commits[0].shard.key
    assert tar not in reads, "it is in the backup"
    assert made.commits[1].shard.key in reads
    memory.fault = None
    other = MemoryStore()
    restore(shelf, other)
    assert objects(other) == objects(memory)


class Died(Exception):
    """The process is gone."""


@pytest.mark.parametrize("after", [0, 1, 2, 5, 9])
def test_killed_anywhere_it_goes_on(memory: MemoryStore, made: Any, shelf: FolderShelf, after: int) -> None:
    made.complete()
    other, left = MemoryStore(), [after]

    class Dying(FolderShelf):
        def put(self, key: str, data: bytes) -> None:
            if left[0] == 0:
                raise Died
            left[0] -= 1
            super().put(key, data)

    def dies(operation: str, key: str) -> None:
        if operation == "put":
            if left[0] == 0:
                raise Died
            left[0] -= 1

    with pytest.raises(Died):
        back_up(memory, JOB, Dying(Path(shelf.where)), threads=1)
    with pytest.raises(BackupFailed, match="no whole backup"):
        restore(shelf, other)
    assert not objects(other)
    back_up(memory, JOB, shelf)
    left[0], other.fault = after, dies
    with pytest.raises(Died):
        restore(shelf, other, threads=1)
    assert other.head(layout.job(JOB)) is None, "nobody sees a job that is not whole"
    other.fault = None
    restore(shelf, other)
    assert objects(other) == objects(memory)
    (again,) = restore(shelf, other)
    assert again.was_there


def test_an_unfinished_job_is_given_to_the_farm_last_and_not_again_when_it_has_ended(
    memory: MemoryStore, made: Any, shelf: FolderShelf, make_job: Callable[..., Any]
) -> None:
    made.commit(0)
    back_up(memory, JOB, shelf)
    other, order = MemoryStore(), []
    other.fault = lambda operation, key: order.append(key) if operation in ("put", "create") else None
    restore(shelf, other)
    assert order[-2:] == [layout.job(JOB), layout.active(JOB)]
    other.fault = None
    other.delete(layout.active(JOB))  # as if it was killed right before
    restore(shelf, other)
    assert other.head(layout.active(JOB)) is not None
    finished = type(made)(other, made.spec).complete()
    before = objects(other)
    (done,) = restore(shelf, other)
    assert done.was_there
    assert objects(other) == before
    assert finished.spec == made.spec


def test_damage_is_found_on_both_ways(memory: MemoryStore, made: Any, shelf: FolderShelf, tmp_path: Path) -> None:
    made.complete()
    tar = made.commits[0].shard.key
    whole = memory.get(tar)
    back_up(memory, JOB, shelf)
    (tmp_path / "backup" / tar).write_bytes(b"\0" + whole[1:])
    other = MemoryStore()
    with pytest.raises(BackupFailed, match="--prove"):
        restore(shelf, other)
    assert not list(other.list(layout.commits_prefix(JOB))), "no commit names what is not there"
    back_up(memory, JOB, shelf)
    assert (tmp_path / "backup" / tar).read_bytes() != whole, "a file in its place is believed"
    back_up(memory, JOB, shelf, prove=True)
    restore(shelf, other)
    assert objects(other) == objects(memory)
    memory.put(tar, b"\0" + whole[1:])
    with pytest.raises(BackupFailed, match="other bytes than were committed"):
        back_up(memory, JOB, FolderShelf(tmp_path / "second"))


def cut(index: bytes) -> bytes:
    return index[: index[:-1].rindex(b"\n") + 1]


def strange(index: bytes) -> bytes:
    return index.replace(layout.job(JOB).encode(), layout.job(JOB[:-1] + "b").encode())


def of_another(index: bytes) -> bytes:
    return index.replace(f'"id":"{JOB}"'.encode(), f'"id":"{JOB[:-1]}b"'.encode())


@pytest.mark.parametrize("changed", [cut, strange, of_another])
def test_an_index_that_is_not_what_was_written_brings_nothing_into_a_store(
    memory: MemoryStore, made: Any, shelf: FolderShelf, changed: Callable[[bytes], bytes]
) -> None:
    made.complete()
    back_up(memory, JOB, shelf)
    index = shelf.get(index_key(JOB))
    assert index is not None
    assert changed(index) != index
    shelf.put(index_key(JOB), changed(index))
    other = MemoryStore()
    with pytest.raises(BackupFailed, match=f"backups/{JOB}.jsonl"):
        restore(shelf, other)
    assert other.head(layout.job(JOB)) is None
    assert all(key.startswith(layout.job_prefix(JOB)) for key in objects(other))


def test_captions_that_another_job_of_the_store_stands_on_are_not_written_over(
    memory: MemoryStore, make_job: Callable[..., Any], shelf: FolderShelf
) -> None:
    """The owner gave the same name to other captions since; what they are is told by the commit of the file."""
    of = CaptionFileRef(file="mine.jsonl", owner="ada", sha256="0" * 64, lines=2)
    made = make_job(memory)
    memory.put(layout.job(JOB), made.spec.model_copy(update={"captions_from": of}).to_bytes())
    made.commit(0)
    memory.put(part := layout.upload_part("ada", of.file, 0, 2, "a" * 64), b"captions")
    memory.put(named := layout.upload_commit("ada", of.file), b"old")
    back_up(memory, JOB, shelf)
    other = MemoryStore()
    other.put(named, b"new")
    with pytest.raises(BackupRefused, match="another one in this store"):
        restore(shelf, other)
    assert other.get(named) == b"new"
    assert other.head(layout.job(JOB)) is None
    other.put(named, b"old")
    restore(shelf, other)
    assert other.get(part) == b"captions"


def test_a_webhook_s_secret_in_a_folder_is_its_owner_s_alone(
    memory: MemoryStore, made: Any, shelf: FolderShelf, tmp_path: Path
) -> None:
    made.complete()
    memory.put(layout.webhook(JOB), b"secret")
    before = os.umask(0o022)
    try:
        back_up(memory, JOB, shelf)
    finally:
        os.umask(before)
    assert (tmp_path / "backup" / layout.webhook(JOB)).stat().st_mode & 0o777 == 0o600


class NoWhole(FolderShelf):
    """Gives and takes no index at once: that of 600 million images has gigabytes."""

    def put(self, key: str, data: bytes) -> None:
        assert not key.startswith("backups/")
        super().put(key, data)

    def get(self, key: str) -> bytes | None:
        assert not key.startswith("backups/")
        return super().get(key)


@pytest.mark.parametrize("kind", ["folder", "bucket"])
def test_the_index_is_never_in_memory_as_a_whole(
    memory: MemoryStore, made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr("synfarm.housekeeping.backup.shelf._PIECE", 64)  # shorter than a line
    made.complete(dead=[1])
    place = NoWhole(tmp_path / "backup") if kind == "folder" else StoreShelf(MemoryStore(), "bucket")
    back_up(memory, JOB, place)
    other = MemoryStore()
    restore(place, other)
    assert objects(other) == objects(memory)


def test_what_is_refused(memory: MemoryStore, made: Any, shelf: FolderShelf) -> None:
    made.complete()
    back_up(memory, JOB, shelf)
    other = MemoryStore()
    other.create(layout.tombstone(JOB), b"{}")
    with pytest.raises(BackupRefused, match="stays deleted"):
        restore(shelf, other)
    farm = StoreSettings(endpoint="127.0.0.1:1", bucket="synfarm")
    with pytest.raises(BackupRefused, match="own store"):
        open_shelf("s3://synfarm", farm, ExportSettings())
    with pytest.raises(BackupFailed, match="no key"):
        shelf.put("jobs/../../etc/passwd", b"")
