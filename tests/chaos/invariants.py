"""What must hold of a farm's jobs whatever was done to it: told by the store alone, then by Redis and the API."""

from __future__ import annotations

import hashlib

from synfarm.contracts import layout
from synfarm.contracts.commits import Commit
from synfarm.contracts.ids import caption_id
from synfarm.contracts.jobs import JobSpec
from synfarm.contracts.manifests import Counts, Ended, manifest_hash, read_part
from synfarm.storage.protocol import ObjectStore

__all__ = ["assert_whole"]


def assert_whole(store: ObjectStore, job: str) -> Ended:
    """Manifest = plan minus listed slots; no group twice; every hash right; totals true; nothing left active."""
    spec = JobSpec.from_bytes(store.get(layout.job(job)))
    ended = Ended.from_bytes(store.get(layout.ended(job, 1)))
    lines = []
    for part in ended.parts:
        data = store.get(part.key)
        assert hashlib.sha256(data).hexdigest() == part.sha256
        lines += read_part(data)
    assert manifest_hash(ended.parts) == ended.manifest_sha256
    assert [line.unit for line in lines] == list(range(spec.units))
    seen: list[str] = []
    empty: list[str] = []
    counts = Counts()
    for line in lines:
        commit = Commit.from_bytes(store.get(layout.commit(job, line.unit)))
        assert line.shard == commit.shard
        empty += [slot.caption_id for slot in commit.empty]
        seen += [row.caption_id for row in commit.groups]
        if commit.shard is not None:
            tar = store.get(commit.shard.key)
            assert hashlib.sha256(tar).hexdigest() == commit.shard.sha256
            for row in commit.groups:
                assert hashlib.sha256(tar[row.offset : row.offset + row.length]).hexdigest() == row.sha256
                assert len(row.members) == spec.images_per_caption + 1
        size = commit.shard.size if commit.shard else 0
        counts += Counts(
            units_committed=1, captions=len(commit.groups), images=commit.images, empty=len(commit.empty), bytes=size
        )
    assert len(seen) == len(set(seen))
    assert sorted(seen + empty) == [caption_id(job, i) for i in range(spec.captions)]
    assert counts == ended.counts
    assert store.head(layout.active(job)) is None
    return ended
