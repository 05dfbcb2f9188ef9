"""The first page with its jobs, and the page of one job: progress, reasons, failures, pause and cancel."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import RedirectResponse

from synfarm.contracts import layout
from synfarm.contracts.jobs import JobSpec
from synfarm_caption_api.api import contents, steering
from synfarm_caption_api.api.services import ApiServices, Services
from synfarm_caption_api.web.gallery import first_samples
from synfarm_caption_api.web.glance import acceptance, look
from synfarm_caption_api.web.parts import Web
from synfarm_caption_api.web.visitor import CurrentVisitor, Visitor

__all__ = ["router"]

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
    context = _job(visitor, services, spec)
    samples = first_samples(services, visitor, spec, concept or None, cursor)
    return web.pages.page(
        request, "job.html", visitor, **context, samples=samples, concept=concept or "", cursor=cursor
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
    return web.pages.page(request, "job_failures.html", visitor, spec=spec, failures=page)


@router.post("/jobs/{job}/signal/{signal}")
def job_signal(
    job: str, signal: Literal["pause", "resume", "cancel"], visitor: CurrentVisitor, services: Services
) -> Response:
    routes = {"pause": steering.pause_job, "resume": steering.resume_job, "cancel": steering.cancel_job}
    view = routes[signal](job, visitor.principal, services)
    return RedirectResponse(f"/ui/jobs/{view.job}", status_code=303)
