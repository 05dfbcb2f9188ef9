"""A folder of shards where others may write: their pipes are not waited for, nothing is written by their links."""

from __future__ import annotations

import os
from pathlib import Path

from synfarm_trainer.data.decode import decode_group


def pictures(cache, dataset) -> list[bytes]:
    group = decode_group(*cache.read(dataset.shards[0], dataset.rows[0]), range(4))
    return [image.tobytes() for image in group.images]


def test_links_and_pipes_in_place_of_shards(stored, on_disk, tmp_path: Path) -> None:
    store, dataset = stored
    found = pictures(on_disk(store), dataset)
    (path,) = (tmp_path / "shards").glob("??/*.tar")
    kept = tmp_path / "kept.tar"
    for plant in (lambda: os.mkfifo(path), lambda: path.symlink_to(kept), lambda: path.symlink_to("/dev/zero")):
        path.rename(kept)
        plant()
        assert pictures(on_disk(store), dataset) == found
        assert path.is_file()
        assert not path.is_symlink()


def test_links_in_place_of_the_folders(stored, on_disk, tmp_path: Path) -> None:
    """Room is made by dropping files: none that lies behind a link."""
    store, dataset = stored
    shards, theirs = tmp_path / "shards", tmp_path / "theirs"
    (theirs / "sub").mkdir(parents=True)
    mine = [theirs / "letter", theirs / "old.tar"]
    for path in mine:
        path.write_bytes(bytes(100_000))
        os.utime(path, (1, 1))
    shards.mkdir()
    for folder in ("new", dataset.shards[0].sha256[:2], "ff"):
        (shards / folder).symlink_to(theirs)
    found = pictures(on_disk(store), dataset)
    (path,) = shards.glob(f"{dataset.shards[0].sha256[:2]}/*.tar")
    assert not path.parent.is_symlink()
    path.unlink()
    for name, to in (("letter", mine[0]), ("ring", "ring"), ("folder", theirs / "sub")):
        (shards / "new" / name).symlink_to(to)
    (shards / "lock").unlink()  # so that the folder is looked through
    assert pictures(on_disk(store), dataset) == found
    assert path.is_file()
    assert sorted(theirs.iterdir()) == [*mine, theirs / "sub"]


def test_a_link_in_place_of_the_lock(stored, on_disk, tmp_path: Path) -> None:
    store, dataset = stored
    mine = tmp_path / "mine"
    mine.write_text("mine and nobody else's")
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "lock").symlink_to(mine)
    assert len(pictures(on_disk(store), dataset)) == 4
    assert mine.read_text() == "mine and nobody else's"
