"""A new job: try its prompts, see its plan, submit it; what was planned is what is submitted."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse

from synfarm.concepts import about, set_names
from synfarm.concepts.sets import SetInfo
from synfarm.contracts.jobs import JobRequest
from synfarm.contracts.pages import ConceptSetInfo
from synfarm.contracts.problems import Problem, ProblemError
from synfarm.contracts.tries import TryRequest
from synfarm.contracts.views import JobPlan, JobView
from synfarm.storage.protocol import StoreError
from synfarm.telemetry import get_logger
from synfarm_caption_api.api import jobs as job_routes
from synfarm_caption_api.api import prompts
from synfarm_caption_api.api.services import ApiServices, Services
from synfarm_caption_api.caption_files import CaptionFiles
from synfarm_caption_api.concept_sets import ConceptSets
from synfarm_caption_api.web.form_problems import from_problem, single
from synfarm_caption_api.web.job_form import PLACES, PRESET_CHOICES, BadForm, default_values, fingerprint, read_request
from synfarm_caption_api.web.job_origin import CHOICES, DRAWN_BY_COLLAGE, MIXES, VARIANTS
from synfarm_caption_api.web.parts import Web
from synfarm_caption_api.web.visitor import CurrentVisitor, Form, Visitor

__all__ = ["router"]

_log = get_logger(__name__)
router = APIRouter()
_TRIED_CONCEPTS = 8
"""Of own concepts; of a set, mix or variant as many captions, times what the form says."""
_OWN_JOBS = 20
_TOKEN = re.compile(r"[0-9a-f]{32}")
_STORE_AWAY = Problem(
    title="store away",
    status=503,
    detail="The object store does not answer as it should.",
    code="store_away",
    hint="What you typed is below: press the button again in a moment.",
)


@router.get("/jobs/new")
def form(
    request: Request,
    web: Web,
    visitor: CurrentVisitor,
    services: Services,
    captions_of: Annotated[str, Query(max_length=26)] = "",
) -> Response:
    """A fresh form; ``captions_of`` fills in a job whose captions are to be drawn once more."""
    values = default_values()
    if captions_of:
        spec = services.jobs.spec(captions_of, visitor.principal)
        values |= {"what": "job", "from_job": spec.job, "captions": str(spec.captions), "name": spec.name}
    return web.pages.page(request, "new_job.html", visitor, **_context(visitor, services, values))


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
    except StoreError as error:
        _log.error("store_failed", path=request.url.path, error=str(error))
        found, status = {"problems": {"": _STORE_AWAY}}, 503
    else:
        status = 200
    context = await run_in_threadpool(_context, visitor, services, values)
    return web.pages.page(request, "new_job.html", visitor, status=status, **{**context, **found})


def _read(values: Mapping[str, str]) -> tuple[JobRequest, str]:
    """What the form wants, and the fingerprint by which its plan is known."""
    wanted = read_request(values)
    return wanted, fingerprint(wanted)


def _context(visitor: Visitor, services: ApiServices, values: Mapping[str, str]) -> dict[str, Any]:
    own = _own(visitor, services)
    return {
        "values": values,
        "choices": CHOICES,
        "sets": {**({"yours": own.sets} if own.sets else {}), **_shipped_sets()},
        "mixes": MIXES,
        "presets": PRESET_CHOICES,
        "variants": VARIANTS,
        "files": own.files,
        "own_jobs": own.jobs,
        "vocabulary": sorted(concept.name for concept in services.vocabulary),
        "problems": {},
        "plan": None,
        "changed": False,
        "tried": None,
    }


@dataclass(frozen=True, slots=True)
class _Own:
    """What the visitor has, to choose from."""

    sets: tuple[ConceptSetInfo, ...] = ()
    files: tuple[str, ...] = ()
    jobs: tuple[JobView, ...] = ()
    """Those that have ended."""


def _own(visitor: Visitor, services: ApiServices) -> _Own:
    """Nothing while the store is away: the form is there without it too."""
    owner = visitor.principal.owner
    try:
        jobs = services.jobs.page(visitor.principal, None, _OWN_JOBS).items
        return _Own(
            sets=ConceptSets(services.store).infos(owner),
            files=CaptionFiles(services.store).names(owner),
            jobs=tuple(view for view in jobs if view.owner == owner and view.state.is_final),
        )
    except StoreError as error:
        _log.warning("form_without_store", error=str(error))
        return _Own()


def _shipped_sets() -> dict[str, list[SetInfo]]:
    sets = {name: about(name) for name in set_names()}
    return {
        "drawn by collage and by diffusers": [sets.pop(name) for name in DRAWN_BY_COLLAGE],
        "drawn by diffusers": list(sets.values()),
    }


async def _try(
    wanted: JobRequest, values: Mapping[str, str], visitor: Visitor, services: ApiServices
) -> dict[str, Any]:
    """Of own concepts the first few, of a set, mix or variant as many captions as a job begins with."""
    if wanted.captions_from is not None:
        raise BadForm(single("tries", "there is no prompt to try: these captions exist already; show the plan"))
    tries = values["tries"].strip()
    if tries not in {"1", "2", "3", "4"}:
        raise BadForm(single("tries", "must be 1 to 4"))
    shared = {name: getattr(wanted, name) for name in wanted.model_fields_set & TryRequest.model_fields.keys()}
    left = wanted.concepts[_TRIED_CONCEPTS:]
    if wanted.concepts:
        shared |= {"concepts": wanted.concepts[:_TRIED_CONCEPTS], "n": int(tries)}
    else:
        shared["n"] = int(tries) * _TRIED_CONCEPTS
    if isinstance(wanted.backgrounds, dict) and left:
        shared["backgrounds"] = _without(wanted.backgrounds, {concept.name.casefold() for concept in left})
    body = TryRequest.model_validate(shared)
    tried = await prompts.tried(body, visitor.principal, services)
    return {"tried": tried, "tried_left": len(left)}


def _without(backgrounds: Mapping[Any, Any], left: Set[str]) -> dict[Any, Any] | None:
    """The backgrounds of what is tried; names that no concept of the list has stay, and are told."""
    return {name: settings for name, settings in backgrounds.items() if name.casefold() not in left} or None


def _plan(wanted: JobRequest, visitor: Visitor, services: ApiServices, *, changed: bool) -> dict[str, Any]:
    plan = job_routes.make_job(wanted, visitor.principal, services, Response(), dry_run=True)
    if not isinstance(plan, JobPlan):
        raise TypeError(f"a dry run answered with a {type(plan).__name__}")
    return {
        "plan": plan,
        "planned": fingerprint(wanted),
        "submission": secrets.token_hex(16),
        "changed": changed,
    }


def _submit(wanted: JobRequest, fields: Mapping[str, str], visitor: Visitor, services: ApiServices) -> Response:
    """Make the job of this plan; a button pressed twice makes one."""
    token = fields.get("submission", "")
    key = f"page-{token}" if _TOKEN.fullmatch(token) else None
    made = job_routes.make_job(wanted, visitor.principal, services, Response(), idempotency_key=key)
    job = made.spec.job if isinstance(made, JobPlan) else made.job
    return RedirectResponse(f"/ui/jobs/{job}", status_code=303)
