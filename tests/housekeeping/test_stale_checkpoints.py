"""`gc` of checkpoints: what has no commit and will never get one goes when it is old; nothing else does."""

from __future__ import annotations

from typing import Any

import pytest

from synfarm.contracts import layout
from synfarm.housekeeping.collecting import collect
from synfarm.storage.memory import MemoryStore

RUN = "01k" + "0" * 22 + "r"


@pytest.fixture
def store(clock: Any) -> MemoryStore:
    """Steps 2 and 4 of attempt 0 are committed, 3 was begun; attempt 1 committed 4 and began 6. A day has gone by."""
    made = MemoryStore(clock=clock)
    for attempt, step, committed in ((0, 2, True), (0, 3, False), (0, 4, True), (1, 4, True), (1, 6, False)):
        made.put(layout.checkpoint_file(RUN, step, attempt, "student-00000-of-00002.safetensors"), b"tensors")
        made.put(layout.checkpoint_share(RUN, step, attempt, 1), b"{}")
        if committed:
            made.put(layout.checkpoint_commit(RUN, step, attempt), b"{}")
    clock.later(days=1, minutes=1)
    return made


def places(found: Any) -> list[tuple[int, int]]:
    """(step, attempt) of the folders of which something went."""
    return sorted({layout.parse_checkpoint(removal.key)[:2] for removal in found.removals})


def test_what_lies_behind_a_commit_goes_whole(store: MemoryStore) -> None:
    assert places(collect(store, delete=False)) == [(3, 0)]
    found = collect(store, delete=True)
    assert (places(found), found.objects, found.notes) == ([(3, 0)], 2, ())
    assert found.removals[0].why == f"attempt 0 of run {RUN} never committed its checkpoint of step 3"
    assert collect(store, delete=True).objects == 0
    for attempt, step in ((0, 2), (0, 4), (1, 4)):
        assert store.head(layout.checkpoint_commit(RUN, step, attempt)) is not None


def test_the_newest_may_still_be_committed_until_the_run_has_ended(store: MemoryStore) -> None:
    store.put(layout.run_ended(RUN), b"{}")
    assert places(collect(store, delete=True)) == [(3, 0), (6, 1)]


def test_one_young_file_keeps_its_folder(store: MemoryStore) -> None:
    store.put(layout.checkpoint_file(RUN, 3, 0, "student-00001-of-00002.safetensors"), b"just now")
    assert places(collect(store, delete=True)) == []


def test_a_commit_that_comes_meanwhile_saves_its_files(store: MemoryStore) -> None:
    def commit(operation: str, key: str) -> None:
        if operation == "head" and key == layout.checkpoint_commit(RUN, 3, 0):
            store.fault = None
            store.put(key, b"{}")

    store.fault = commit
    assert places(collect(store, delete=True)) == []


def test_of_one_job_no_run_is_looked_at_and_what_is_no_runs_is_told(store: MemoryStore, made: Any, clock: Any) -> None:
    store.put("runs/nonsense/x", b"")
    store.put(f"{layout.checkpoints_prefix(RUN)}x", b"")
    assert len(collect(store, delete=False).notes) == 2
    store.create(layout.job(made.job), made.spec.to_bytes())
    assert collect(store, job=made.job, delete=True).objects == 0
