"""The same reading over a real S3 server: ranges, listings that start after a key, a tar that was replaced."""

from __future__ import annotations

from typing import Any

import pytest

from synfarm.contracts import layout
from synfarm.contracts.commits import Commit
from synfarm.storage.protocol import ObjectStore, StoreDamaged
from synfarm_caption_api.samples.candidates import Query
from synfarm_caption_api.samples.reader import SampleReader

pytestmark = pytest.mark.integration


def test_samples_on_a_real_store(store: ObjectStore, renders: Any) -> None:
    farm = type(renders)(store)
    spec = farm.job(captions=48)
    farm.commit(spec, 0, 1, 2, 4)
    farm.note(spec, 2)
    reader = SampleReader(store)
    try:
        page = reader.page(spec, Query(limit=100))
        assert sorted(sample.located.row.index for sample in page.samples) == [*range(24), *range(32, 40)]
        assert (page.damaged, page.next_cursor) == ((), None)
        group = reader.fetch(reader.locate(spec, 33))
        assert group.images[1] == b"image 33.1 " * 20
        commit = Commit.from_bytes(store.get(layout.commit(spec.job, 0)))
        assert commit.shard is not None
        store.put(commit.shard.key, store.get(commit.shard.key)[:512])
        with pytest.raises(StoreDamaged):
            reader.fetch(reader.locate(spec, 5))
    finally:
        reader.close()
