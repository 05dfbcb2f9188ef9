"""A new job: try its prompts, see its plan, submit it; what was planned is what is submitted."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse

from synfarm.contracts.jobs import JobRequest
from synfarm.contracts.problems import ProblemError
from synfarm.contracts.tries import TryRequest
from synfarm.contracts.views import JobPlan
from synfarm_caption_api.api import jobs as job_routes
from synfarm_caption_api.api import operations, prompts
from synfarm_caption_api.api.services import ApiServices, Services
from synfarm_caption_api.web.form_problems import from_problem, single
from synfarm_caption_api.web.job_form import PLACES, BadForm, default_values, fingerprint, read_request
from synfarm_caption_api.web.parts import Web
from synfarm_caption_api.web.visitor import CurrentVisitor, Form, Visitor

__all__ = ["router"]

router = APIRouter()
_TRIED_CONCEPTS = 8
_TOKEN = re.compile(r"[0-9a-f]{32}")


@router.get("/jobs/new")
def form(request: Request, web: Web, visitor: CurrentVisitor, services: Services) -> Response:
    return web.pages.page(request, "new_job.html", visitor, **_context(services, default_values()))


@router.post("/jobs/new")
async def act(request: Request, web: Web, visitor: CurrentVisitor, services: Services, fields: Form) -> Response:
    """Try, plan or submit, as the pressed button says; what is wrong comes back beside its field."""
    values = {**default_values(), **fields}
    action = fields.get("action", "plan")
    try:
        # In a thread: a list of 50,000 concepts takes seconds to read, and the loop serves everybody else. In one of
        # the framework's own: a plan asks the loop from it whether the LLM is there.
        wanted, its_fingerprint = await run_in_threadpool(_read, values)
        if action == "try":
            found = await _try(wanted, values, visitor, services)
        elif action == "submit" and fields.get("planned") == its_fingerprint:
            return await run_in_threadpool(_submit, wanted, fields, visitor, services)
        else:
            found = await run_in_threadpool(_plan, wanted, visitor, services, changed=action == "submit")
    except BadForm as error:
        found, status = {"problems": error.problems}, 422
    except ProblemError as error:
        if error.problem.status == 401:
            raise
        found, status = {"problems": from_problem(error, PLACES)}, error.problem.status
    else:
        status = 200
    return web.pages.page(request, "new_job.html", visitor, status=status, **{**_context(services, values), **found})


def _read(values: Mapping[str, str]) -> tuple[JobRequest, str]:
    """What the form wants, and the fingerprint by which its plan is known."""
    wanted = read_request(values)
    return wanted, fingerprint(wanted)


def _context(services: ApiServices, values: Mapping[str, str]) -> dict[str, Any]:
    return {
        "values": values,
        "vocabulary": sorted(concept.name for concept in services.vocabulary),
        "problems": {},
        "plan": None,
        "changed": False,
        "tried": None,
    }


async def _try(
    wanted: JobRequest, values: Mapping[str, str], visitor: Visitor, services: ApiServices
) -> dict[str, Any]:
    concepts = wanted.concepts[:_TRIED_CONCEPTS]
    tries = values["tries"].strip()
    if tries not in {"1", "2", "3", "4"}:
        raise BadForm(single("tries", "must be 1 to 4"))
    body = TryRequest(concepts=concepts, n=int(tries), seed=wanted.seed, caption=wanted.caption)
    tried = await prompts.try_captions(body, visitor.principal, services)
    return {"tried": tried, "tried_left": len(wanted.concepts) - len(concepts)}


def _plan(wanted: JobRequest, visitor: Visitor, services: ApiServices, *, changed: bool) -> dict[str, Any]:
    plan = job_routes.make_job(wanted, visitor.principal, services, Response(), dry_run=True)
    if not isinstance(plan, JobPlan):
        raise TypeError(f"a dry run answered with a {type(plan).__name__}")
    return {
        "plan": plan,
        "planned": fingerprint(wanted),
        "submission": secrets.token_hex(16),
        "changed": changed,
        "served": _is_served(plan, visitor, services),
    }


def _is_served(plan: JobPlan, visitor: Visitor, services: ApiServices) -> bool | None:
    """Whether a live render worker takes such units; None while nobody knows."""
    try:
        workers = operations.workers(visitor.principal, services).items
    except ProblemError:
        return None
    return any(plan.capability in worker.capabilities for worker in workers if worker.kind == "render")


def _submit(wanted: JobRequest, fields: Mapping[str, str], visitor: Visitor, services: ApiServices) -> Response:
    """Make the job of this plan; a button pressed twice makes one."""
    token = fields.get("submission", "")
    key = f"page-{token}" if _TOKEN.fullmatch(token) else None
    made = job_routes.make_job(wanted, visitor.principal, services, Response(), idempotency_key=key)
    job = made.spec.job if isinstance(made, JobPlan) else made.job
    return RedirectResponse(f"/ui/jobs/{job}", status_code=303)
