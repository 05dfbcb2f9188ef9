"""`gc`: what goes, what stays, and what happens when the world changes between the look and the removal."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from synfarm.contracts import layout
from synfarm.contracts.generations import Opening
from synfarm.contracts.housekeeping import Collected
from synfarm.contracts.jobs import JobState
from synfarm.contracts.runs import DatasetRef, RunSpec
from synfarm.contracts.tombstones import Tombstone
from synfarm.housekeeping.collecting import Swept, collect
from synfarm.housekeeping.job_record import NoSuchJob
from synfarm.housekeeping.verification.verifying import verify
from synfarm.storage.memory import MemoryStore
from synfarm.storage.protocol import ObjectStore

RUN = "01k" + "0" * 22 + "r"
OTHER = "01k" + "0" * 22 + "b"


def orphan(made: Any, unit: int, data: bytes = b"drawn by another worker") -> str:
    """A tar that no commit names."""
    key = layout.shard(made.job, unit, hashlib.sha256(data).hexdigest())
    made.store.put(key, data)
    return key


def pin(store: ObjectStore, job: str, generation: int | None = 1, parts: int | None = None) -> None:
    """A run that reads the job, or begins with its first ``parts``; ``generation`` None: it never came to be."""
    store.create(layout.pin(job, RUN), b"{}")
    if generation is not None:
        spec = RunSpec(
            run=RUN,
            owner="ada",
            created_at=datetime.fromisoformat("2026-01-31T12:00:00+00:00"),
            name="run",
            preset="tiny",
            datasets=(DatasetRef(job=job, generation=generation, manifest_sha256="0" * 64, parts=parts),),
            seed=0,
            ranks=1,
            config={},
        )
        store.create(layout.run(RUN), spec.to_bytes())


def keys(found: Collected) -> list[str]:
    assert found.objects == len(found.removals)
    return [removal.key for removal in found.removals]


def test_beside_a_commit_and_without_one_at_the_end(made: Any, clock: Any) -> None:
    beside = orphan(made, 0)
    without = orphan(made, 2)
    made.complete(dead=[2])
    clock.later(hours=23)
    assert keys(collect(made.store, delete=True)) == [], "not a day old"
    clock.later(hours=1, seconds=1)
    dry = collect(made.store, delete=False)
    assert keys(dry) == [beside, without]
    assert not dry.deleted
    assert made.store.head(beside) is not None, "a dry run removes nothing"
    seen: list[Swept] = []
    done = collect(made.store, delete=True, progress=seen.append)
    assert keys(done) == [beside, without]
    assert done.bytes == 2 * len(b"drawn by another worker")
    assert (seen[-1].job, seen[-1].objects, seen[-1].bytes) == (made.job, 2, done.bytes)
    assert made.store.head(beside) is made.store.head(without) is None
    assert keys(collect(made.store, delete=True)) == []
    assert verify(made.store, made.job).clean


def test_the_clock_is_the_store_s_own(made: Any, clock: Any) -> None:
    """This machine's clock is years away from the store's of this test; only what the store says counts."""
    orphan(made, 0)
    made.complete()
    assert keys(collect(made.store, delete=True)) == []
    assert len(keys(collect(made.store, delete=False, now=clock.now + timedelta(days=2)))) == 1


def test_a_running_job_loses_only_what_lost_to_a_commit(made: Any, clock: Any) -> None:
    made.commit(0)
    lost, living = orphan(made, 0), orphan(made, 1)
    clock.later(days=2)
    assert keys(collect(made.store, delete=False)) == [lost]
    assert keys(collect(made.store, delete=True)) == [lost]
    assert made.store.head(living) is not None, "a worker may be about to commit it"


def test_a_cancelled_job_has_ended(made: Any, clock: Any) -> None:
    made.commit(0)
    left = orphan(made, 1)
    made.end(state=JobState.CANCELLED)
    clock.later(days=2)
    assert keys(collect(made.store, delete=True)) == [left]


def test_an_end_record_whose_active_mark_is_still_there_is_no_end(made: Any, clock: Any) -> None:
    made.commit(0)
    orphan(made, 1)
    made.end(state=JobState.CANCELLED)
    made.store.create(layout.active(made.job), b"{}")
    clock.later(days=2)
    assert keys(collect(made.store, delete=True)) == []


def _retry(made: Any) -> None:
    opening = Opening(job=made.job, generation=2, why="retry", captions=14, by="ada", at=made.spec.created_at)
    made.store.create(layout.opening(made.job, 2), opening.to_bytes())


def test_a_job_that_was_opened_again_runs(made: Any, clock: Any) -> None:
    orphan(made, 2)
    made.complete(dead=[2])
    clock.later(days=2)
    _retry(made)
    assert keys(collect(made.store, delete=True)) == []


def test_a_commit_that_appears_between_listing_and_removal(made: Any, clock: Any) -> None:
    """The very tar that looked like nobody's: a worker that was away for a day commits it now."""
    shard = made.shard(2)
    made.complete(dead=[2])
    ref = made.upload(2, shard)
    clock.later(days=2)
    for moment in ("head", "get"):

        def meanwhile(operation: str, key: str, moment: str = moment) -> None:
            if operation == moment and key in {ref.key, layout.commit(made.job, 2)}:
                made.store.fault = None
                commits = made.commits.get(2) or made.commits[0].model_copy(
                    update={"unit": 2, "shard": ref, "groups": shard.groups}
                )
                made.store.create(layout.commit(made.job, 2), commits.to_bytes())

        made.store.fault, made.store.delete = meanwhile, None
        assert keys(collect(made.store, delete=True)) == []
        assert made.store.fault is None, "the moment came"
        del made.store.delete
        assert made.store.head(ref.key) is not None
        made.store.delete(layout.commit(made.job, 2))


def test_a_retry_in_the_moment_of_the_removal_gets_its_tar_back(made: Any, clock: Any) -> None:
    left = orphan(made, 2)
    made.complete(dead=[2])
    clock.later(days=2)

    def meanwhile(operation: str, key: str) -> None:
        if (operation, key) == ("delete", left):
            made.store.fault = None
            _retry(made)

    made.store.fault = meanwhile
    found = collect(made.store, delete=True)
    assert made.store.fault is None
    assert (keys(found), found.bytes) == ([], 0)
    assert made.store.get(left) == b"drawn by another worker"


def test_a_tar_that_is_written_again_is_young_again(made: Any, clock: Any) -> None:
    made.commit(0)
    lost = orphan(made, 0)
    clock.later(days=2)

    def meanwhile(operation: str, key: str) -> None:
        if (operation, key) == ("head", lost):
            made.store.fault = None
            orphan(made, 0)

    made.store.fault = meanwhile
    assert keys(collect(made.store, delete=True)) == []
    assert made.store.fault is None


def test_a_commit_whose_own_tar_is_gone_keeps_the_others(made: Any, clock: Any) -> None:
    commit = made.commit(0)
    one, other = orphan(made, 0), orphan(made, 0, b"a third one")
    made.store.delete(commit.shard.key)
    made.end(state=JobState.CANCELLED)
    clock.later(days=2)
    found = collect(made.store, delete=True)
    assert keys(found) == []
    assert any("is gone" in note for note in found.notes)
    assert made.store.head(one) is not None
    assert made.store.head(other) is not None


def test_what_a_manifest_names_stays_without_its_commit(made: Any, clock: Any) -> None:
    made.complete()
    made.store.delete(layout.commit(made.job, 1))
    clock.later(days=2)
    assert keys(collect(made.store, delete=True)) == []


@pytest.mark.parametrize("pinned", [True, False])
def test_what_a_pinned_generation_names_stays(made: Any, clock: Any, pinned: bool) -> None:
    """The manifest of generation 1 has a tar that neither the commit nor generation 2 has."""
    made.complete()
    old = made.commits[1].shard.key
    _retry(made)
    picture = made.shard(2).data
    made.store.delete(layout.commit(made.job, 1))
    del made.lines[1]
    made.store.put(layout.captions(made.job, 1), picture)
    made.end(generation=2, state=JobState.CANCELLED)
    if pinned:
        pin(made.store, made.job, generation=1)
    clock.later(days=2)
    assert keys(collect(made.store, delete=True)) == ([] if pinned else [old])


def test_a_run_that_follows_an_open_generation_keeps_only_what_commits_name(made: Any, clock: Any) -> None:
    lost = orphan(made, 2)
    made.complete()
    pin(made.store, made.job, generation=2, parts=1)
    clock.later(days=2)
    found = collect(made.store, delete=True)
    assert (keys(found), found.notes) == ([lost], ())


def test_a_damaged_manifest_keeps_everything(made: Any, clock: Any) -> None:
    orphan(made, 2)
    made.complete(dead=[2])
    made.store.put(layout.manifest_part(made.job, 1, 0), b"")
    clock.later(days=2)
    found = collect(made.store, delete=True)
    assert keys(found) == []
    assert "synfarm verify" in found.notes[0]


def test_pins_of_runs_that_never_were(made: Any, clock: Any) -> None:
    made.complete()
    pin(made.store, made.job, generation=None)
    clock.later(hours=2)
    assert keys(collect(made.store, delete=True)) == []
    clock.later(days=1)
    assert keys(collect(made.store, delete=True)) == [layout.pin(made.job, RUN)]
    pin(made.store, made.job, generation=1)
    clock.later(days=30)
    assert keys(collect(made.store, delete=True)) == []


def test_a_run_that_comes_to_be_as_its_pin_goes_keeps_it(made: Any, clock: Any) -> None:
    made.complete()
    pin(made.store, made.job, generation=None)
    clock.later(days=2)

    def meanwhile(operation: str, key: str) -> None:
        if (operation, key) == ("delete", layout.pin(made.job, RUN)):
            made.store.fault = None
            pin(made.store, made.job)

    made.store.fault = meanwhile
    assert keys(collect(made.store, delete=True)) == []
    assert made.store.head(layout.pin(made.job, RUN)) is not None


def test_rests_of_a_deleted_job(made: Any, clock: Any) -> None:
    made.complete()
    stone = Tombstone(by="ada", at=made.spec.created_at)
    made.store.put(layout.tombstone(made.job), stone.to_bytes())
    clock.later(days=2)
    assert keys(collect(made.store, delete=True)) == [], "the deletion may be withdrawn"
    made.store.put(layout.tombstone(made.job), stone.model_copy(update={"purging": True}).to_bytes())
    assert keys(collect(made.store, delete=True)) == [], "the purge is the feeder's"
    made.store.delete(layout.job(made.job))
    clock.later(days=2)
    late = orphan(made, 0)
    assert late not in keys(collect(made.store, delete=True))
    assert [info.key for info in made.store.list(layout.job_prefix(made.job))] == [late, layout.tombstone(made.job)]
    clock.later(days=2)
    assert keys(collect(made.store, delete=True)) == [late], "the tombstone stays"


def test_half_made_jobs_and_strange_folders_are_told_and_left(memory: MemoryStore, made: Any, clock: Any) -> None:
    made.complete()
    memory.put(layout.shard(OTHER, 0, "0" * 64), b"x")
    memory.put("jobs/readme.txt/x", b"x")
    memory.put(f"{layout.shards_prefix(made.job)}00000/notes.txt", b"x")
    clock.later(days=2)
    found = collect(memory, delete=True)
    assert keys(found) == []
    assert len(found.notes) == 3


def test_one_job_alone_and_those_after_one(memory: MemoryStore, clock: Any, make_job: Callable[..., Any]) -> None:
    left = {}
    for job in (make_job(memory), make_job(memory, OTHER)):
        left[job.job] = orphan(job, 0)
        job.complete()
    clock.later(days=2)
    first, second = sorted(left)
    assert keys(collect(memory, job=second, delete=False)) == [left[second]]
    assert keys(collect(memory, after=first, delete=False)) == [left[second]]
    assert sorted(keys(collect(memory, delete=False))) == sorted(left.values())
    with pytest.raises(NoSuchJob):
        collect(memory, job="01k" + "0" * 22 + "z", delete=False)


@pytest.mark.integration
def test_on_a_real_store(store: ObjectStore, make_job: Callable[..., Any]) -> None:
    made = make_job(store)
    beside, without = orphan(made, 0), orphan(made, 2)
    made.complete(dead=[2])
    assert keys(collect(store, delete=True)) == []
    found = collect(store, delete=True, now=store.now() + timedelta(days=1, minutes=1))
    assert keys(found) == [beside, without]
    assert store.head(beside) is store.head(without) is None
    assert verify(store, made.job).clean
