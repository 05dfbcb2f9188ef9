"""From what one pass has in its hands to the farm's picture: a pure function, no reading of anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from synfarm.contracts.jobs import JobSpec, JobState
from synfarm.contracts.renders import Stage
from synfarm.contracts.workers import WorkerInfo
from synfarm.queue.board import JobCounters
from synfarm.queue.flags import JobFlags
from synfarm.queue.flight import Sent
from synfarm_caption_api.feeder.farm_record import FarmPicture
from synfarm_caption_api.feeder.view import job_state

__all__ = ["STALLS", "UNIT_STATES", "WORKER_STATES", "JobFacts", "picture"]

UNIT_STATES = (
    "unsent", "caption_waiting", "caption_working", "render_waiting", "render_working", "committed", "dead",
)  # fmt: skip
STALLS = ("caption_fault", "render_fault", "no_worker", "unreadable")
"""An environment fault of a stage; a worker that the job needs and nobody is; an object that cannot be read."""
WORKER_STATES = ("working", "idle", "loading", "unable", "draining")


@dataclass(frozen=True, slots=True)
class JobFacts:
    """One job as the pass sees it."""

    spec: JobSpec
    flags: JobFlags
    counters: JobCounters
    sent: Mapping[int, Sent]
    claimed: Collection[int]
    """Units that a worker has taken."""
    unreadable: bool


def picture(
    jobs: Iterable[JobFacts],
    *,
    unopened: int = 0,
    workers: Iterable[WorkerInfo],
    queues: Mapping[str, int],
    now: float,
) -> FarmPicture:
    """
    Args:
        unopened: jobs of which nothing is known, for their spec cannot be read; they stall, and have no state.
        now: in seconds of the farm's clock.
    """
    states: Counter[JobState] = Counter()
    stalled: Counter[str] = Counter(unreadable=unopened)
    units: Counter[tuple[str, str]] = Counter()
    oldest: dict[str, float] = {}
    missing = 0
    for job in jobs:
        state = job_state(job.flags, job.counters, None, None)
        states[state] += 1
        for name, count in _units(job).items():
            units[job.spec.render.capability, name] += count
        if state not in {JobState.QUEUED, JobState.RUNNING}:
            continue
        stalled.update(_stalls(job))
        counts, each = job.counters.counts, job.spec.images_per_caption
        missing += max(0, (job.spec.captions - counts.empty) * each - counts.images)
        for sent in job.sent.values():
            # What this very pass has sent has no time yet.
            age = max(0.0, now - sent.at) if sent.at else 0.0
            oldest[sent.stage.value] = max(oldest.get(sent.stage.value, 0.0), age)
    return FarmPicture(
        jobs=states,
        stalled=stalled,
        units=units,
        oldest=oldest,
        missing_images=missing,
        queues=queues,
        workers=Counter((worker.kind, _state(worker)) for worker in workers),
    )


def _units(job: JobFacts) -> dict[str, int]:
    counts = job.counters.counts
    found = Counter(
        f"{sent.stage.value}_{'working' if unit in job.claimed else 'waiting'}" for unit, sent in job.sent.items()
    )
    finished = {"committed": counts.units_committed, "dead": counts.units_dead}
    left = job.spec.units - found.total() - sum(finished.values())
    return {**found, **finished, "unsent": max(0, left)}


def _stalls(job: JobFacts) -> list[str]:
    reasons = [f"{stage.value}_fault" for stage in Stage if stage in job.counters.stalls]
    if job.unreadable:
        return [*reasons, "unreadable"]
    return [*reasons, "no_worker"] if job.counters.held_up else reasons


def _state(worker: WorkerInfo) -> str:
    if worker.draining:
        return "draining"
    if worker.loading is not None:
        return "unable" if worker.trouble is not None else "loading"
    return "working" if worker.units else "idle"
