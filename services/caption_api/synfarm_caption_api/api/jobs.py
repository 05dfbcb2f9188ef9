"""Routes of jobs: make, list, look."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Response

from synfarm.auth import Principal
from synfarm.contracts.ids import check_ulid
from synfarm.contracts.jobs import JobRequest, JobSpec
from synfarm.contracts.problems import Problem, ProblemError
from synfarm.contracts.views import JobPage, JobPlan, JobView
from synfarm.idempotency import recall
from synfarm.telemetry import get_logger
from synfarm.web import CurrentPrincipal
from synfarm_caption_api.api.parameters import JobPath
from synfarm_caption_api.api.planning import complete
from synfarm_caption_api.api.services import ApiServices, Services
from synfarm_caption_api.submission import ROUTE, Submission

__all__ = ["router"]

_log = get_logger(__name__)
router = APIRouter(prefix="/v1/jobs", tags=["jobs"])


@router.post(
    "",
    summary="Make a job, or see what it would be",
    status_code=201,
    response_model=JobView | JobPlan,
    responses={
        200: {"description": "The plan (dry_run), or the job that this Idempotency-Key made before."},
        409: {"model": Problem},
        429: {"model": Problem},
    },
)
def make_job(
    body: JobRequest,
    who: CurrentPrincipal,
    services: Services,
    response: Response,
    dry_run: Annotated[bool, Query(description="Answer with the plan; write nothing.")] = False,
    price_per_gpu_hour: Annotated[
        float | None, Query(ge=0, le=1e6, allow_inf_nan=False, description="For the plan's cost, in any currency.")
    ] = None,
    idempotency_key: Annotated[
        str | None, Header(description="Up to 255 characters; the same key and body give the same job.")
    ] = None,
) -> JobView | JobPlan:
    """Make a job: a few small writes whatever its size; the feeder does the rest."""
    if dry_run:
        response.status_code = 200
        return complete(services.submitter.plan(body, who.owner), services, price_per_gpu_hour)
    made = _submit(body, who, services, idempotency_key)
    if made.created:
        services.metrics.jobs.inc()
        _log.info("job_made", job=made.spec.job, owner=who.owner, captions=made.spec.captions)
    else:
        response.status_code = 200
    response.headers["Location"] = f"/v1/jobs/{made.spec.job}"
    return services.jobs.view(made.spec)


def _submit(body: JobRequest, who: Principal, services: ApiServices, key: str | None) -> Submission:
    """Within the limits of the key; the replay of a job that counts already needs no room."""
    room = services.room
    if key is not None and room.is_limited(who):
        record = recall(services.store, owner=who.owner, route=ROUTE, key=key)
        if record is not None and services.jobs.exists(record.id):
            return services.submitter.submit(body, who.owner, key)
    with room.for_job(who, body.captions):
        return services.submitter.submit(body, who.owner, key)


@router.get("", summary="List jobs")
def list_jobs(
    who: CurrentPrincipal,
    services: Services,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> JobPage:
    """Your jobs (an admin's: all), newest first."""
    if cursor is not None:
        try:
            check_ulid(cursor)
        except ValueError as error:
            hint = "Begin again without cursor, then pass each page's next_cursor."
            raise ProblemError(
                422, "cursor_invalid", "cursor is none that this list gave.", field="cursor", hint=hint
            ) from error
    return services.jobs.page(who, cursor, limit)


@router.get("/{job}", summary="See a job's state and counts", response_model=JobView)
def get_job(job: JobPath, who: CurrentPrincipal, services: Services) -> Response:
    """One job: its state and counts."""
    # The bytes themselves: the framework would validate and write the view a second time, and this is what is polled.
    return Response(services.jobs.view(services.jobs.spec(job, who)).to_bytes(), media_type="application/json")


@router.get("/{job}/spec", summary="See what the job was made with")
def get_spec(job: JobPath, who: CurrentPrincipal, services: Services) -> JobSpec:
    """The frozen spec."""
    return services.jobs.spec(job, who)
