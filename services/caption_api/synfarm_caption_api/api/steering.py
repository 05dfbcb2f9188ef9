"""Routes that change what becomes of a job: pause, resume, cancel, retry, extend, delete."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body
from redis.exceptions import RedisError

from synfarm.auth import Principal
from synfarm.contracts import layout
from synfarm.contracts.base import Contract, Moment, utc_now
from synfarm.contracts.generations import ExtendRequest, Opening, planned_by
from synfarm.contracts.ids import MAX_UNIT, Name
from synfarm.contracts.jobs import JobSpec, JobState
from synfarm.contracts.manifests import Ended
from synfarm.contracts.problems import Problem, ProblemError
from synfarm.contracts.tombstones import Tombstone
from synfarm.contracts.views import JobView
from synfarm.queue.specs import read_openings
from synfarm.telemetry import get_logger
from synfarm.web import CurrentPrincipal
from synfarm_caption_api.api.parameters import JobPath
from synfarm_caption_api.api.services import ApiServices, Services
from synfarm_caption_api.feeder.purge import binding_pin, withdraw

__all__ = ["router"]

_log = get_logger(__name__)
router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
_REFUSES: dict[int | str, dict[str, Any]] = {409: {"model": Problem}}


class UserSignal(Contract):
    """``pause.json`` and ``cancel.json``: who asked, and when."""

    by: Name
    at: Moment


@router.post("/{job}/cancel", summary="Cancel a job for good", status_code=202, responses=_REFUSES)
def cancel_job(job: JobPath, who: CurrentPrincipal, services: Services) -> JobView:
    """Cancel for good; what is committed stays. Cancelling twice is one cancel."""
    spec = _steerable(job, who, services, "cancel")
    if services.store.head(layout.cancel(spec.job)) is None:
        _refuse_if_ended(spec, services)
        services.store.create(layout.cancel(spec.job), UserSignal(by=who.owner, at=utc_now()).to_bytes())
    return _flagged(spec, services)


@router.post("/{job}/pause", summary="Pause a job", status_code=202, responses=_REFUSES)
def pause_job(job: JobPath, who: CurrentPrincipal, services: Services) -> JobView:
    """Stop sending units; units in work are handed back."""
    spec = _steerable(job, who, services, "pause")
    _refuse_if_ended(spec, services)
    services.store.put(
        layout.pause(spec.job), UserSignal(by=who.owner, at=utc_now()).to_bytes(), content_type="application/json"
    )
    return _flagged(spec, services)


@router.post("/{job}/resume", summary="Go on with a paused job", status_code=202, responses=_REFUSES)
def resume_job(job: JobPath, who: CurrentPrincipal, services: Services) -> JobView:
    """Go on after a pause."""
    spec = _steerable(job, who, services, "resume")
    _refuse_if_ended(spec, services)
    services.store.delete(layout.pause(spec.job))
    return _flagged(spec, services)


@router.post("/{job}/retry", summary="Try the dead units of an ended job again", status_code=202, responses=_REFUSES)
def retry_job(job: JobPath, who: CurrentPrincipal, services: Services) -> JobView:
    """Open the next generation for the units that were given up; what is committed stays as it is.

    The dead letters are kept beside the job. Until the new generation ends, readers have the manifest of the old one.
    """
    spec = _steerable(job, who, services, "retry")
    return _open_generation(spec, who, services, "retry", spec.captions)


@router.post("/{job}/extend", summary="Plan more captions for an ended job", status_code=202, responses=_REFUSES)
def extend_job(
    job: JobPath, body: Annotated[ExtendRequest, Body()], who: CurrentPrincipal, services: Services
) -> JobView:
    """Raise the number of captions planned; the next generation makes those that are missing.

    The spec stays frozen, and so does every caption made: the draws go on where they stopped.
    """
    spec = _steerable(job, who, services, "extend")
    return _open_generation(spec, who, services, "extend", body.captions)


@router.delete("/{job}", summary="Delete a job and all that it made", status_code=202, responses=_REFUSES)
def delete_job(job: JobPath, who: CurrentPrincipal, services: Services) -> JobView:
    """Delete for good. Workers let go first, then its objects go, a few thousand a second; until then it is shown."""
    spec = services.jobs.spec(job, who)
    store = services.store
    if store.head(layout.tombstone(spec.job)) is None:
        _refuse_if_pinned(spec.job, services)
        store.create(layout.tombstone(spec.job), Tombstone(by=who.owner, at=utc_now()).to_bytes())
        # A run that pins from here on sees the tombstone and takes its pin back.
        try:
            _refuse_if_pinned(spec.job, services)
        except ProblemError:
            withdraw(store, spec.job)
            _flagged(spec, services)
            raise
        _log.info("job_deletion_asked", job=spec.job, by=who.owner)
    store.create(layout.active(spec.job), b"{}")  # what brings the feeder to the job
    return _flagged(spec, services)


def _steerable(job: str, who: Principal, services: ApiServices, what: str) -> JobSpec:
    """The spec of a job that is, or was, at work: an imported one never is."""
    spec = services.jobs.spec(job, who)
    if spec.source is not None:
        detail = f"Job {spec.job} was imported, and has nothing to {what}: it was whole when it was first seen."
        hint = "Train on it, export it or delete it; `synfarm import` under another name takes other files."
        raise ProblemError(409, "job_imported", detail, field="job", hint=hint)
    return spec


def _refuse_if_pinned(job: str, services: ApiServices) -> None:
    run = binding_pin(services.store, job)
    if run is not None:
        detail = f"Run {run} reads job {job}: its images must stay."
        raise ProblemError(409, "job_pinned", detail, hint=f"Delete the run {run} first, or keep the job.")


def _refuse_if_ended(spec: JobSpec, services: ApiServices) -> None:
    ended = services.jobs.ended(spec.job)
    if ended is not None:
        detail = f"Job {spec.job} has ended ({ended.state.value})."
        hint = f"POST /v1/jobs/{spec.job}/retry tries its dead units again, …/extend plans more captions."
        raise ProblemError(409, "job_ended", detail, hint=hint)


def _open_generation(
    spec: JobSpec, who: Principal, services: ApiServices, why: Literal["retry", "extend"], captions: int
) -> JobView:
    """Write the opening, then the active mark; sent again after a lost answer it completes what is there."""
    store, job = services.store, spec.job
    openings = read_openings(store, job)
    ended = services.jobs.ended(job)
    last = openings[-1] if openings else None
    same = last is not None and (last.why, last.captions) == (why, captions)
    if ended is None:
        if same:  # the same request, sent again while the generation it opened is at work
            return services.jobs.view(spec)
        raise ProblemError(
            409,
            "job_not_ended",
            f"Job {job} has not ended yet.",
            hint=f"Wait for its end: GET /v1/jobs/{job}/events tells of it.",
        )
    if last is None or last.generation <= ended.generation:
        _refuse_opening(spec, ended, why, captions)
        opening = Opening(
            job=job, generation=ended.generation + 1, why=why, captions=captions, by=who.owner, at=utc_now()
        )
        if planned_by(spec, [opening]).units > MAX_UNIT:
            raise ProblemError(
                422, "too_many_units", f"A job has at most {MAX_UNIT} units.", field="captions", hint="Make a new job."
            )
        with services.room.for_job(who, captions):
            won = store.create(layout.opening(job, opening.generation), opening.to_bytes())
            if won:
                _log.info("generation_asked", job=job, generation=opening.generation, why=why, captions=captions)
                store.create(layout.active(job), b"{}")
        last = opening if won else read_openings(store, job)[-1]
        same = (last.why, last.captions) == (why, captions)
    if not same:
        body = f' with {{"captions": {last.captions}}}' if last.why == "extend" else ""
        raise ProblemError(
            409,
            "generation_opening",
            f"Another request is opening generation {last.generation} of job {job} ({last.why}).",
            hint=f"Complete it first: POST /v1/jobs/{job}/{last.why}{body}.",
        )
    store.create(layout.active(job), b"{}")
    return _flagged(spec, services)


def _refuse_opening(spec: JobSpec, ended: Ended, why: Literal["retry", "extend"], captions: int) -> None:
    if ended.state is JobState.CANCELLED:
        raise ProblemError(
            409,
            "job_cancelled",
            f"Job {spec.job} was cancelled, which is final.",
            hint=f"Make a new job; GET /v1/jobs/{spec.job}/spec has what this one was made with.",
        )
    if why == "extend" and spec.captions_from is not None:
        detail = "Its captions were taken from elsewhere, and none are made beyond them."
        raise ProblemError(409, "captions_given", detail, hint="Make a new job with the longer list of captions.")
    if why == "retry" and not ended.counts.units_dead:
        detail = f"Job {spec.job} has no dead units: all {ended.counts.units_committed} are committed."
        raise ProblemError(409, "nothing_to_retry", detail, hint="POST …/extend plans more captions.")
    if why == "extend" and captions <= spec.captions:
        raise ProblemError(
            422,
            "captions_not_more",
            f"captions must be more than the {spec.captions} that the job has planned, not {captions}.",
            field="captions",
            hint="Give the new total; captions are never taken away.",
        )


def _flagged(spec: JobSpec, services: ApiServices) -> JobView:
    """The store has the flag, which is what counts; Redis only lets workers see it sooner."""
    try:
        services.flags.refresh(spec.job)
    except RedisError as error:
        _log.warning("flag_not_copied", job=spec.job, error=str(error))
    return services.jobs.view(services.jobs.renewed(spec))
