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


def test_a_link_in_place_of_the_lock(stored, on_disk, tmp_path: Path) -> None:
    store, dataset = stored
    mine = tmp_path / "mine"
    mine.write_text("mine and nobody else's")
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "lock").symlink_to(mine)
    assert len(pictures(on_disk(store), dataset)) == 4
    assert mine.read_text() == "mine and nobody else's"
