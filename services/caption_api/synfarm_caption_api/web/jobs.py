"""The first page with its jobs, and the page of one job: progress, reasons, generations, failures."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response

from synfarm.contracts import layout
from synfarm.contracts.jobs import JobSpec
from synfarm_caption_api.api import contents
from synfarm_caption_api.api.services import ApiServices, Services
from synfarm_caption_api.web.gallery import first_samples
from synfarm_caption_api.web.generations import generations
from synfarm_caption_api.web.glance import acceptance, look
from synfarm_caption_api.web.job_choices import FAULTS, choices
from synfarm_caption_api.web.parts import Web, WebParts
from synfarm_caption_api.web.visitor import CurrentVisitor, Visitor

__all__ = ["answer_job", "router"]

router = APIRouter()
_JOBS = 20
_FAILURES = 5
_FAILURES_A_PAGE = 50
_RUNS = 20
Cursor = Annotated[str | None, Query(max_length=26)]


@router.get("/")
def overview(
    request: Request, web: Web, visitor: CurrentVisitor, services: Services, cursor: Cursor = None
) -> Response:
    return web.pages.page(request, "jobs.html", visitor, **_overview(visitor, services, cursor))


@router.get("/live")
def overview_live(
    request: Request, web: Web, visitor: CurrentVisitor, services: Services, cursor: Cursor = None
) -> Response:
    return web.pages.page(request, "jobs_live.html", visitor, **_overview(visitor, services, cursor))


def _overview(visitor: Visitor, services: ApiServices, cursor: str | None) -> dict[str, Any]:
    page = services.jobs.page(visitor.principal, cursor, _JOBS)
    return {
        "glance": look(services, visitor.principal),
        "jobs": [(view, acceptance(view)) for view in page.items],
        "next_cursor": page.next_cursor,
        "cursor": cursor,
    }


@router.get("/jobs/{job}")
def job_page(
    request: Request,
    job: str,
    web: Web,
    visitor: CurrentVisitor,
    services: Services,
    concept: Annotated[str | None, Query(max_length=80)] = None,
    cursor: Annotated[int | None, Query(ge=0, lt=10**10)] = None,
) -> Response:
    spec = services.jobs.spec(job, visitor.principal)
    return answer_job(request, web, visitor, services, spec, concept=concept, cursor=cursor)


def answer_job(
    request: Request,
    web: WebParts,
    visitor: Visitor,
    services: ApiServices,
    spec: JobSpec,
    *,
    status: int = 200,
    concept: str | None = None,
    cursor: int | None = None,
    **told: Any,
) -> Response:
    """The page of a job; ``told`` is what it says of something that was asked of it (see ``_job``)."""
    context = {**_job(visitor, services, spec), **told}
    samples = first_samples(services, visitor, spec, concept or None, cursor)
    return web.pages.page(
        request, "job.html", visitor, status=status, **context, samples=samples, concept=concept or "", cursor=cursor
    )


@router.get("/jobs/{job}/live")
def job_live(request: Request, job: str, web: Web, visitor: CurrentVisitor, services: Services) -> Response:
    spec = services.jobs.spec(job, visitor.principal)
    return web.pages.page(request, "job_live.html", visitor, **_job(visitor, services, spec))


def _job(visitor: Visitor, services: ApiServices, spec: JobSpec) -> dict[str, Any]:
    view = services.jobs.view(spec)
    failures = None
    if view.counts.units_dead:
        failures = contents.failures(spec.job, visitor.principal, services, cursor=0, limit=_FAILURES)
    pins = services.store.list(layout.pins_prefix(spec.job), limit=_RUNS)
    return {
        "spec": spec,
        "job": view,
        "accepted": acceptance(view),
        "rejections": sorted(view.rejections.items(), key=lambda item: -item[1]),
        "failures": failures,
        "runs_of_job": [info.key.rpartition("/")[2] for info in pins],
        "generations": generations(services.store, spec),
        "choices": choices(spec, view),
        "fault_words": FAULTS,
        "problem": None,
        "extend_fault": None,
        "extend_to": "",
    }


@router.get("/jobs/{job}/events")
async def job_events(
    job: str, visitor: CurrentVisitor, services: Services, last_event_id: Annotated[str | None, Header()] = None
) -> Response:
    """The API's event stream, for a browser that cannot send a header with it."""
    return await contents.events(job, visitor.principal, services, last_event_id)


@router.get("/jobs/{job}/failures")
def job_failures(
    request: Request,
    job: str,
    web: Web,
    visitor: CurrentVisitor,
    services: Services,
    cursor: Annotated[int, Query(ge=0, lt=10**10)] = 0,
) -> Response:
    spec = services.jobs.spec(job, visitor.principal)
    page = contents.failures(spec.job, visitor.principal, services, cursor=cursor, limit=_FAILURES_A_PAGE)
    view = services.jobs.view(spec)
    return web.pages.page(
        request,
        "job_failures.html",
        visitor,
        spec=spec,
        job=view,
        failures=page,
        choices=choices(spec, view),
        fault_words=FAULTS,
    )
