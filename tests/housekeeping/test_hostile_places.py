"""Backups of strangers, and folders where others write: nothing outside is read or written by what they planted."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from synfarm.contracts import layout
from synfarm.contracts.backups import BackupLine
from synfarm.contracts.housekeeping import Fault
from synfarm.housekeeping.backup.backing_up import back_up
from synfarm.housekeeping.backup.index import index_key
from synfarm.housekeeping.backup.restoring import restore
from synfarm.housekeeping.backup.shelf import BackupFailed, BackupRefused, FolderShelf, StoreShelf
from synfarm.housekeeping.exporting.destination import ExportRefused, FolderDestination
from synfarm.housekeeping.exporting.export import ExportFailed, export
from synfarm.housekeeping.verification.verifying import verify
from synfarm.storage.memory import MemoryStore
from synfarm.whole_file import write_whole

JOB = "01k" + "0" * 22 + "a"


@pytest.fixture
def backup(memory: MemoryStore, made: Any, tmp_path: Path) -> Path:
    made.complete()
    back_up(memory, JOB, FolderShelf(tmp_path / "backup"))
    return tmp_path / "backup"


def test_a_folder_has_one_backup_at_a_time(memory: MemoryStore, made: Any, tmp_path: Path) -> None:
    made.complete()
    shelf = FolderShelf(tmp_path / "backup")
    with shelf.hold(), pytest.raises(BackupRefused, match=r"another backup writes to .*: wait for it"):
        back_up(memory, JOB, FolderShelf(tmp_path / "backup"))
    back_up(memory, JOB, shelf)


def link(path: Path, to: str) -> None:
    path.unlink()
    path.symlink_to(to)


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def huge(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(1 << 40)


def fold(path: Path) -> None:
    """The folder itself is a link, to one with the same files."""
    path.parent.rename(path.parent.with_name("moved"))
    path.parent.symlink_to("moved")


@pytest.mark.parametrize(
    ("plant", "key"),
    [
        *product(
            [lambda path: link(path, "/dev/zero"), lambda path: link(path, "/etc/passwd"), pipe, fold],
            [layout.commit(JOB, 0), layout.captions(JOB, 1), index_key(JOB)],
        ),
        (huge, layout.captions(JOB, 1)),
    ],
)
def test_a_backup_is_read_from_plain_files_of_the_right_size(
    backup: Path, plant: Callable[[Path], None], key: str
) -> None:
    plant(backup / key)
    store = MemoryStore()
    with pytest.raises(BackupFailed, match=r"is a link or no plain file|is not what was backed up"):
        restore(FolderShelf(backup), store, (JOB,))
    assert store.head(layout.job(JOB)) is None


@pytest.mark.parametrize("tail", ["../../other", "a//b", "./x", "x\n", "a\\..\\b", "x\0", "x/.."])
@pytest.mark.parametrize("place", ["folder", "store"])
def test_no_key_of_a_backup_leads_elsewhere(backup: Path, tail: str, place: str) -> None:
    shelf: FolderShelf | StoreShelf = FolderShelf(backup)
    key, line = layout.job_prefix(JOB) + tail, (backup / index_key(JOB)).read_bytes().splitlines()
    bad = BackupLine(phase=0, key=key, size=1, sha256="0" * 64).to_bytes()
    index = b"\n".join([line[0], bad, *line[2:]]) + b"\n"
    if place == "store":
        shelf = StoreShelf(MemoryStore(), "s3://theirs/x")
        shelf.put(key, b"x")
    shelf.put(index_key(JOB), index)
    store = MemoryStore()
    with pytest.raises(BackupFailed, match="does not belong to the job"):
        restore(shelf, store)
    assert list(store.list("")) == []


def test_a_backup_is_written_by_no_link(memory: MemoryStore, made: Any, tmp_path: Path) -> None:
    made.complete()
    outside, backup = tmp_path / "outside", tmp_path / "backup"
    outside.mkdir()
    backup.mkdir()
    (outside / "mine").write_text("mine")
    key = layout.commit(JOB, 0)
    (backup / "jobs").symlink_to(outside)
    with pytest.raises(BackupFailed, match="jobs is a link"):
        back_up(memory, JOB, FolderShelf(backup))
    (backup / "jobs").unlink()
    (backup / key).parent.mkdir(parents=True)
    (backup / key).with_name(f".{Path(key).name}.synfarm-part").symlink_to(outside / "mine")
    last = layout.job(JOB)
    (backup / last).with_name(f".{Path(last).name}.synfarm-part").hardlink_to(outside / "mine")
    back_up(memory, JOB, FolderShelf(backup))
    assert (backup / last).stat().st_mode & 0o777 == 0o600
    (backup / key).unlink()
    (backup / key).symlink_to(outside / "mine")
    with pytest.raises(BackupFailed, match="is a link or no plain file"):
        back_up(memory, JOB, FolderShelf(backup))
    assert [(path.name, path.read_text()) for path in outside.iterdir()] == [("mine", "mine")]


def test_an_export_is_written_by_no_link(memory: MemoryStore, made: Any, tmp_path: Path) -> None:
    made.complete()
    (tmp_path / "mine").write_text("mine")
    out = tmp_path / "out"
    out.mkdir()
    (out / f".{JOB}-000000.tar.synfarm-part").symlink_to(tmp_path / "mine")
    export(memory, JOB, FolderDestination(out))
    for name in (f"{JOB}-000000.tar", "index.json"):
        (out / name).rename(out / "kept")
        (out / name).symlink_to("kept" if name.endswith(".tar") else tmp_path / "mine")
        with pytest.raises(ExportRefused, match="is a link or no plain file"):
            export(memory, JOB, FolderDestination(out))
        (out / "kept").replace(out / name)
    link(out / "README.md", str(tmp_path / "mine"))
    export(memory, JOB, FolderDestination(out))  # a file takes the place of the link
    assert (tmp_path / "mine").read_text() == "mine"


def test_a_file_that_was_asked_for_is_written_by_no_link_beside_it(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / f".page.html.{os.getpid()}.new").symlink_to(tmp_path / "mine")
    write_whole(tmp_path / "page.html", b"page")
    assert (tmp_path / "mine").read_text() == "mine"
    assert (tmp_path / "page.html").read_bytes() == b"page"


def pax(record: bytes, size: int | None = None) -> bytes:
    """An extended header with this content, which claims to have another size."""
    info = tarfile.TarInfo("p")
    info.type, info.size = tarfile.XHDTYPE, len(record) if size is None else size
    return info.tobuf(tarfile.GNU_FORMAT) + record + bytes(-len(record) % tarfile.BLOCKSIZE)


@pytest.mark.parametrize(("kind", "what"), [(tarfile.DIRTYPE, "is a folder"), (tarfile.SYMTYPE, "is a link")])
def test_what_no_row_names_is_a_finding_in_a_tar(memory: MemoryStore, made: Any, kind: bytes, what: str) -> None:
    more = tarfile.TarInfo("more")
    more.type = kind
    for unit in range(made.spec.units):
        shard = made.shard(unit)
        if unit == 1:
            data = shard.data.rstrip(b"\0")
            data += bytes(-len(data) % tarfile.BLOCKSIZE) + more.tobuf() + bytes(2 * tarfile.BLOCKSIZE)
            shard = replace(shard, data=data, sha256=sha256(data).hexdigest())
        made.commit(unit, shard)
    made.end()
    (finding,) = verify(memory, JOB).findings
    assert (finding.fault, finding.unit) == (Fault.SHARD_DISAGREES, 1)
    assert finding.what == f"in the tar 'more' {what}"


@pytest.mark.parametrize(
    "lie", [pax(b"12 size=abc\n"), pax(b"x", 1 << 60), pax(b"1" * 90_000), pax(b"9 a=bcd\n") * 400]
)
def test_a_tar_of_a_worker_that_lies_is_a_finding(memory: MemoryStore, made: Any, tmp_path: Path, lie: bytes) -> None:
    """Its hash is right, for the same worker has written the commit."""
    for unit in range(made.spec.units):
        shard = made.shard(unit)
        if unit == 1:
            data = shard.data.rstrip(b"\0")
            data += bytes(-len(data) % tarfile.BLOCKSIZE) + lie + bytes(2 * tarfile.BLOCKSIZE)
            shard = replace(shard, data=data, sha256=sha256(data).hexdigest())
        made.commit(unit, shard)
    made.end()
    (finding,) = verify(memory, JOB).findings
    assert (finding.fault, finding.unit) == (Fault.SHARD_DISAGREES, 1)
    assert finding.what.startswith("no tar: ")
    (tmp_path / "out").mkdir()
    with pytest.raises(ExportFailed, match="no tar: "):
        export(memory, JOB, FolderDestination(tmp_path / "out"), shard_bytes=1 << 20)
