"""`verify` of jobs that run, end late, or were opened again."""

from __future__ import annotations

from typing import Any

from synfarm.contracts import layout
from synfarm.contracts.generations import Opening
from synfarm.contracts.housekeeping import Fault, Finding
from synfarm.contracts.jobs import JobState
from synfarm.contracts.manifests import Counts, Progress
from synfarm.housekeeping.verification.verifying import verify
from synfarm.storage.memory import MemoryStore


def only(made: Any, **options: Any) -> Finding:
    found = verify(made.store, made.job, **options)
    assert [finding.fault for finding in found.findings] == [found.findings[0].fault]
    assert found.findings_total == 1
    assert found.findings[0].todo
    return found.findings[0]


def test_a_commit_after_the_end(made: Any) -> None:
    made.complete(dead=[2])
    made.commit(2)
    finding = only(made)
    assert (finding.fault, finding.unit) == (Fault.COMMIT_LATE, 2)


def test_what_a_cancelled_job_never_made_is_no_fault(made: Any) -> None:
    made.commit(0)
    made.commit(2)
    made.end(state=JobState.CANCELLED)
    assert verify(made.store, made.job).clean


def test_a_running_job_is_checked_as_far_as_it_is(made: Any) -> None:
    made.commit(0)
    made.commit(2)
    found = verify(made.store, made.job)
    assert found.clean
    assert (found.state, found.counts.units_committed) == ("running", 2)
    progress = Progress(job=made.job, watermark=3, counts=Counts(), parts=0, as_of=made.spec.created_at)
    made.store.put(layout.progress(made.job), progress.to_bytes())
    assert (only(made).fault, only(made).unit) == (Fault.UNIT_MISSING, 1), "below the watermark nothing may be open"
    made.bury(1)
    assert verify(made.store, made.job).clean
    shard = made.commits[2].shard
    made.store.put(shard.key, b"x" * shard.size)
    assert only(made).fault is Fault.SHARD_CHANGED


def test_units_committed_while_it_walks_are_no_findings(made: Any) -> None:
    """The watermark is read before the units are listed: it never runs ahead of the listing."""
    made.commit(0)
    progress = Progress(job=made.job, watermark=1, counts=Counts(), parts=0, as_of=made.spec.created_at)
    made.store.put(layout.progress(made.job), progress.to_bytes())

    def meanwhile(operation: str, key: str) -> None:
        if operation == "list" and key == layout.failures_prefix(made.job):
            made.store.fault = None
            made.commit(1)
            ahead = progress.model_copy(update={"watermark": 2})
            made.store.put(layout.progress(made.job), ahead.to_bytes())

    made.store.fault = meanwhile
    assert verify(made.store, made.job).clean


def test_a_generation_that_was_opened_again(made: Any, memory: MemoryStore) -> None:
    made.complete(dead=[1])
    opening = Opening(job=made.job, generation=2, why="retry", captions=14, by="ada", at=made.spec.created_at)
    memory.create(layout.opening(made.job, 2), opening.to_bytes())
    memory.create(layout.active(made.job), b"{}")
    memory.delete(layout.failure(made.job, 1))
    assert verify(memory, made.job).state == "running"
    made.commit(1)
    made.end(generation=2)
    found = verify(memory, made.job)
    assert found.clean
    assert (found.generation, found.state) == (2, "completed")
    memory.put(layout.manifest_part(made.job, 1, 0), b"")
    assert only(made).fault is Fault.MANIFEST_CHANGED, "a run may read the first generation still"
