"""Starting a training run on a finished job."""

from __future__ import annotations

import asyncio
import re
import secrets
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from synfarm.contracts.problems import ProblemError
from synfarm_caption_api.api.services import ApiServices, Services
from synfarm_caption_api.web.form_problems import from_problem
from synfarm_caption_api.web.job_form import BadForm
from synfarm_caption_api.web.parts import Web
from synfarm_caption_api.web.run_form import RUN_PLACES, default_run, read_run
from synfarm_caption_api.web.visitor import CurrentVisitor, Form, Visitor

__all__ = ["router"]

router = APIRouter()
_TOKEN = re.compile(r"[0-9a-f]{32}")


@router.get("/runs/new")
def form(
    request: Request,
    web: Web,
    visitor: CurrentVisitor,
    services: Services,
    job: Annotated[str, Query(max_length=26)] = "",
) -> Response:
    if web.trainer is None:
        return web.pages.page(request, "runs.html", visitor, page=None, cursor=None, problem=None)
    name = services.jobs.spec(job, visitor.principal).name if job else "run"
    values = {**default_run(job, name), "submission": secrets.token_hex(16)}
    return web.pages.page(request, "new_run.html", visitor, **_context(services, visitor, values))


@router.post("/runs/new")
async def start(request: Request, web: Web, visitor: CurrentVisitor, services: Services, fields: Form) -> Response:
    """Start the run; what is wrong comes back beside its field."""
    if web.trainer is None:
        return web.pages.page(request, "runs.html", visitor, status=503, page=None, cursor=None, problem=None)
    values = {**default_run("", "run"), "submission": "", **fields}
    token = values["submission"] if _TOKEN.fullmatch(values["submission"]) else secrets.token_hex(16)
    try:
        run = await web.trainer.start(visitor.authorization, read_run(values), f"page-{token}")
    except BadForm as error:
        problems, status = error.problems, 422
    except ProblemError as error:
        problems, status = from_problem(error, RUN_PLACES), error.problem.status
    else:
        return RedirectResponse(f"/ui/runs/{run.run}", status_code=303)
    # What was refused was no run, and its correction is another one. An answer that was lost may have been a run: the
    # same token finds it.
    values["submission"] = secrets.token_hex(16) if status < 500 else token
    context = await asyncio.to_thread(_context, services, visitor, values)
    return web.pages.page(request, "new_run.html", visitor, status=status, **{**context, "problems": problems})


def _context(services: ApiServices, visitor: Visitor, values: dict[str, str]) -> dict[str, Any]:
    """The form, with the first of its jobs for a look."""
    job = None
    first, *more = values["jobs"].split() or [""]
    if first:
        try:
            job = services.jobs.view(services.jobs.spec(first, visitor.principal))
        except ProblemError:
            job = None  # The trainer says the same of it, at its field.
    return {"values": values, "problems": {}, "job": job, "more_jobs": len(more)}
