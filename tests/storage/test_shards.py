"""Shards: same input, same bytes; every group readable by its row; damage noticed; readable by the public library."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synfarm.contracts.commits import SampleMeta, ShardRef
from synfarm.contracts.ids import caption_id
from synfarm.contracts.jobs import ConceptKind
from synfarm.storage.memory import MemoryStore
from synfarm.storage.protocol import StoreDamaged
from synfarm.storage.shard_reader import fetch_group, fetch_shard, open_group
from synfarm.storage.shard_writer import Shard, ShardWriter

JOB = "01hzzzzzzzzzzzzzzzzzzzzzzz"


def _meta(index: int, images: int) -> SampleMeta:
    return SampleMeta(
        caption_id=caption_id(JOB, index),
        caption="a red fox, in snow ❄",
        concept="fox",
        kind=ConceptKind.OBJECT,
        template="c",
        second=None,
        seeds=tuple(range(images)),
        renderer="collage",
        model=None,
        revision=None,
        sampler=None,
        steps=None,
        guidance=None,
        render_size=64,
        size=64,
        image_format="jpg",
        quality=90,
    )


def _shard(groups: dict[int, list[bytes]]) -> Shard:
    writer = ShardWriter()
    for index, images in sorted(groups.items()):
        writer.add(index, images, _meta(index, len(images)))
    return writer.finish()


GROUPS = st.dictionaries(
    st.integers(0, 10**10 - 1),
    st.lists(st.binary(max_size=1500), min_size=1, max_size=4),
    min_size=1,
    max_size=5,
)


@settings(max_examples=40, deadline=None)
@given(GROUPS)
def test_round_trip(groups: dict[int, list[bytes]]) -> None:
    shard = _shard(groups)
    assert _shard(groups).data == shard.data
    store = MemoryStore()
    store.put("s", shard.data)
    assert [row.index for row in shard.groups] == sorted(groups)
    for row in shard.groups:
        whole, ranged = open_group(shard.data, row), fetch_group(store, "s", row)
        assert whole == ranged
        assert list(ranged.images) == groups[row.index]
        assert ranged.meta() == _meta(row.index, len(ranged.images))
    with tarfile.open(fileobj=io.BytesIO(shard.data)) as tar:
        names = [member.name for member in tar.getmembers()]
    assert names == [member.name for row in shard.groups for member in row.members]


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_flipped_byte_is_noticed(data: st.DataObject) -> None:
    shard = _shard({1: [b"a" * 700, b"b"], 2: [b"c" * 3]})
    row = data.draw(st.sampled_from(shard.groups))
    at = data.draw(st.integers(row.offset, row.offset + row.length - 1))
    damaged = bytearray(shard.data)
    damaged[at] ^= 1
    with pytest.raises(StoreDamaged):
        open_group(bytes(damaged), row)
    store = MemoryStore()
    store.put("s", bytes(damaged))
    with pytest.raises(StoreDamaged):
        fetch_shard(store, ShardRef(key="s", sha256=shard.sha256, size=len(shard.data)))
    with pytest.raises(StoreDamaged):
        open_group(shard.data[: row.offset + row.length - 1], row)


# The library leaves the file it read to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_opens_in_webdataset(tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    path = tmp_path / "s.tar"
    path.write_bytes(_shard({7: [b"x", b"y", b"z", b"w"], 8: [b"1", b"2", b"3", b"4"]}).data)
    samples = list(webdataset.WebDataset(str(path), shardshuffle=False))
    assert [sample["__key__"] for sample in samples] == [caption_id(JOB, 7), caption_id(JOB, 8)]
    assert [samples[0][f"{k}.jpg"] for k in range(4)] == [b"x", b"y", b"z", b"w"]
    assert SampleMeta.from_bytes(samples[1]["json"]) == _meta(8, 4)


def test_refusals() -> None:
    writer = ShardWriter()
    with pytest.raises(ValueError, match="without groups"):
        writer.finish()
    writer.add(3, [b"x"], _meta(3, 1))
    with pytest.raises(ValueError, match="order"):
        writer.add(3, [b"x"], _meta(3, 1))
    with pytest.raises(ValueError, match="seeds"):
        writer.add(4, [b"x"], _meta(4, 2))
