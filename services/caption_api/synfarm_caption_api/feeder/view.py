"""A job as HTTP and events show it: a pure function of what the store and the board know."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from synfarm.contracts.jobs import JobSpec, JobState
from synfarm.contracts.manifests import Counts, Ended, Progress
from synfarm.contracts.views import JobView
from synfarm.queue.board import JobCounters
from synfarm.queue.flags import JobFlags

__all__ = ["BEING_DELETED", "job_state", "job_view"]

BEING_DELETED = "being deleted"
"""The reason that a view gives from the request to delete a job until its objects are gone."""


def job_state(flags: JobFlags, counters: JobCounters, progress: Progress | None, ended: Ended | None) -> JobState:
    """The state; ``ended`` is None while the job is in ``active/`` (also when an earlier generation has ended)."""
    if ended is not None:
        return ended.state
    if flags.cancelled or flags.deleted:
        return JobState.CANCELLING
    if flags.paused:
        return JobState.PAUSED
    return JobState.RUNNING if counters.sends or progress is not None else JobState.QUEUED


def job_view(
    spec: JobSpec,
    *,
    flags: JobFlags,
    counters: JobCounters,
    progress: Progress | None,
    ended: Ended | None,
    now: datetime,
    absent: Sequence[str] = (),
) -> JobView:
    """The view. Live counters if the feeder has set them up; else what progress.json knew, with its time.

    ``absent``: sentences about workers that the job needs and that are not there.
    """
    state = job_state(flags, counters, progress, ended)
    counts, as_of = counters.counts, now
    draws, rejections, written = counters.draws, counters.rejections, counters.written
    if ended is not None:
        counts, as_of, draws, rejections = ended.counts, ended.ended_at, ended.draws, ended.rejections
        written = max(written, counts.captions)
    elif counters.seeded is None:
        counts = progress.counts if progress else Counts()
        as_of = progress.as_of if progress else now
        draws, rejections = (progress.draws, progress.rejections) if progress else (0, {})
        written = counts.captions
    running = state is JobState.RUNNING
    rate = counters.images_per_second if running else None
    missing = spec.captions * spec.images_per_caption - counts.images - counts.empty * spec.images_per_caption
    return JobView(
        job=spec.job,
        name=spec.name,
        owner=spec.owner,
        state=state,
        stalled=_stalled(counters, absent) if running or state is JobState.QUEUED else None,
        reason=ended.reason if ended else BEING_DELETED if flags.deleted else None,
        created_at=spec.created_at,
        planned_captions=spec.captions,
        planned_units=spec.units,
        captions_written=written,
        counts=counts,
        in_flight=0 if ended else counters.in_flight,
        repairs=counters.repairs,
        draws=draws,
        rejections=rejections,
        images_per_second=rate,
        eta_seconds=max(0, missing) / rate if rate else None,
        generation=ended.generation if ended else None,
        as_of=as_of,
    )


def _stalled(counters: JobCounters, absent: Sequence[str]) -> str | None:
    reasons = [*absent, *counters.outages]
    if counters.held_up and not counters.outages:
        left = counters.held_up
        for sentence in absent:
            left = left.replace(sentence, "")
        reasons.append(left.strip("; "))
    return "; ".join(filter(None, reasons)) or None
