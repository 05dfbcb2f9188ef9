"""What a job is told to do from its page; what is refused comes back on the page, in words, with what was typed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse
from pydantic import ValidationError

from synfarm.contracts.generations import ExtendRequest
from synfarm.contracts.problems import ProblemError
from synfarm.contracts.views import JobView
from synfarm_caption_api.api import steering
from synfarm_caption_api.api.services import ApiServices, Services
from synfarm_caption_api.web.cures import for_reader
from synfarm_caption_api.web.form_problems import from_validation
from synfarm_caption_api.web.jobs import answer_job
from synfarm_caption_api.web.parts import Web, WebParts
from synfarm_caption_api.web.visitor import CurrentVisitor, Form, Visitor

__all__ = ["router"]

router = APIRouter()
_STEER: dict[str, Callable[..., JobView]] = {
    "pause": steering.pause_job,
    "resume": steering.resume_job,
    "cancel": steering.cancel_job,
    "retry": steering.retry_job,
    "delete": steering.delete_job,
}
_NOT_THERE = {401, 404}
"""What no page of the job can be shown for."""


@router.post("/jobs/{job}/signal/{signal}")
def signal(
    request: Request,
    job: str,
    signal: Literal["pause", "resume", "cancel", "retry", "delete"],
    web: Web,
    visitor: CurrentVisitor,
    services: Services,
) -> Response:
    try:
        view = _STEER[signal](job, visitor.principal, services)
    except ProblemError as error:
        return _refused(request, job, web, visitor, services, error)
    # A job that is being deleted has no page for long.
    return RedirectResponse("/ui/" if signal == "delete" else f"/ui/jobs/{view.job}", status_code=303)


@router.post("/jobs/{job}/extend")
async def extend(
    request: Request, job: str, web: Web, visitor: CurrentVisitor, services: Services, fields: Form
) -> Response:
    """Plan more captions: ``captions`` is how many in all."""
    return await run_in_threadpool(_extend, request, job, web, visitor, services, fields.get("captions", "").strip())


def _extend(
    request: Request, job: str, web: WebParts, visitor: Visitor, services: ApiServices, captions: str
) -> Response:
    try:
        body = ExtendRequest.model_validate({"captions": captions})
        view = steering.extend_job(job, body, visitor.principal, services)
    except ValidationError as error:
        spec = services.jobs.spec(job, visitor.principal)
        fault = from_validation(error, {"captions": "captions"})["captions"]
        return answer_job(request, web, visitor, services, spec, status=422, extend_fault=fault, extend_to=captions)
    except ProblemError as error:
        return _refused(request, job, web, visitor, services, error, extend_to=captions)
    return RedirectResponse(f"/ui/jobs/{view.job}", status_code=303)


def _refused(
    request: Request,
    job: str,
    web: WebParts,
    visitor: Visitor,
    services: ApiServices,
    error: ProblemError,
    **typed: Any,
) -> Response:
    """The job's page with the problem: beside the field that it concerns, or above all."""
    problem = for_reader(error.problem)
    if problem.status in _NOT_THERE:
        raise error
    spec = services.jobs.spec(job, visitor.principal)
    told = {"extend_fault" if problem.field == "captions" else "problem": problem, **typed}
    return answer_job(request, web, visitor, services, spec, status=problem.status, **told)
