"""Backups of runs: only whole checkpoints, the jobs after the run, the pins before it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.runs import CheckpointCommit, CheckpointFile, DatasetRef, RunAttempt, RunSpec
from synfarm.housekeeping.backup.backing_up import back_up
from synfarm.housekeeping.backup.restoring import restore
from synfarm.housekeeping.backup.shelf import BackupRefused, FolderShelf
from synfarm.storage.memory import MemoryStore

JOB, RUN = "01k" + "0" * 22 + "a", "01k" + "0" * 22 + "r"


@pytest.fixture
def store(memory: MemoryStore, made: Any) -> MemoryStore:
    """A finished job, and a run on it with two checkpoints and a third that was cut short."""
    made.complete()
    dataset = DatasetRef(job=JOB, generation=1, manifest_sha256="0" * 64)
    run = RunSpec(
        run=RUN,
        owner="ada",
        created_at=utc_now(),
        name="r",
        preset="tiny",
        datasets=(dataset,),
        seed=0,
        ranks=1,
        config={},
    )
    memory.create(layout.pin(JOB, RUN), b"{}")
    memory.create(layout.run(RUN), run.to_bytes())
    attempt = RunAttempt(run=RUN, number=0, token=JOB, started_at=utc_now(), host="h")
    memory.create(layout.attempt(RUN, 0), attempt.to_bytes())
    memory.create(layout.metrics_part(RUN, 0, 0), b"{}\n")
    for step in (10, 20):
        data, key = f"tensors of {step}".encode(), layout.checkpoint_file(RUN, step, 0, "student.safetensors")
        memory.put(key, data)
        commit = CheckpointCommit(
            run=RUN,
            step=step,
            attempt=0,
            token=JOB,
            world_size=1,
            files=(CheckpointFile(key=key, sha256=hashlib.sha256(data).hexdigest(), size=len(data)),),
            committed_at=utc_now(),
        )
        memory.create(layout.checkpoint_commit(RUN, step, 0), commit.to_bytes())
    memory.put(layout.checkpoint_file(RUN, 30, 0, "student.safetensors"), b"half")
    return memory


def test_a_run_comes_back_with_its_jobs_and_its_whole_checkpoints(store: MemoryStore, tmp_path: Path) -> None:
    shelf, other = FolderShelf(tmp_path / "b"), MemoryStore()
    assert [head.kind for head in back_up(store, RUN, shelf)] == ["run", "job"]
    order: list[str] = []
    other.fault = lambda operation, key: order.append(key) if operation in ("put", "create") else None
    assert [done.id for done in restore(shelf, other)] == [JOB, RUN]
    assert order[-2:] == [layout.pin(JOB, RUN), layout.run(RUN)]
    first, last = (layout.checkpoint_file(RUN, 10, 0, "student.safetensors"), layout.checkpoint_commit(RUN, 10, 0))
    assert order.index(first) < order.index(last)
    other.fault = None
    missing = {info.key for info in store.list("")} - {info.key for info in other.list("")}
    assert missing == {layout.checkpoint_file(RUN, 30, 0, "student.safetensors")}


def test_a_checkpoint_that_the_run_deletes_meanwhile_is_left_out(store: MemoryStore, tmp_path: Path) -> None:
    shelf, other = FolderShelf(tmp_path / "b"), MemoryStore()
    file, commit = layout.checkpoint_file(RUN, 10, 0, "student.safetensors"), layout.checkpoint_commit(RUN, 10, 0)

    def sweeps(operation: str, key: str) -> None:
        if (operation, key) == ("get", file):
            store.fault = None
            store.delete(commit)
            store.delete(file)

    store.fault = sweeps
    back_up(store, RUN, shelf, threads=1)
    assert store.head(commit) is None, "it was deleted in the middle"
    restore(shelf, other)
    kept = [info.key for info in other.list(layout.checkpoints_prefix(RUN)) if info.key.endswith("commit.json")]
    assert kept == [layout.checkpoint_commit(RUN, 20, 0)]


def test_a_run_needs_its_jobs_and_one_that_is_there_is_left_as_it_is(store: MemoryStore, tmp_path: Path) -> None:
    shelf, other = FolderShelf(tmp_path / "b"), MemoryStore()
    back_up(store, RUN, shelf)
    with pytest.raises(BackupRefused, match=f"trains on job {JOB}"):
        restore(shelf, other, (RUN,))
    restore(shelf, other, (JOB,))
    other.create(layout.tombstone(JOB), b"{}")  # it is being purged, its job.json goes last
    with pytest.raises(BackupRefused, match=f"trains on job {JOB}"):
        restore(shelf, other, (RUN,))
    assert other.head(layout.run(RUN)) is None
    store.put(layout.run_stop(RUN), b"{}")
    before = {info.key: info.etag for info in store.list("")}
    assert all(done.was_there for done in restore(shelf, store))
    assert {info.key: info.etag for info in store.list("")} == before
