"""The page on a job's captions: what was kept and refused, how long, how varied, of what, and what repeats."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request, Response

from synfarm.contracts.captions import NO_CONCEPT, DropReason
from synfarm.contracts.jobs import JobSpec
from synfarm.contracts.origins import Template
from synfarm_caption_api.api import reports
from synfarm_caption_api.api.services import ApiServices, Services
from synfarm_caption_api.web.histogram import histogram
from synfarm_caption_api.web.parts import Web
from synfarm_caption_api.web.visitor import CurrentVisitor, Visitor

__all__ = ["REASONS", "TEMPLATES", "router"]

router = APIRouter()

REASONS: Mapping[str, str] = {
    DropReason.EMPTY: "nothing was written",
    DropReason.TOO_SHORT: "fewer words than the job asks for",
    DropReason.TOO_LONG: "more words than the job allows",
    DropReason.CONCEPT_LOST: "does not name its concept",
    DropReason.REPEATS: "says the same words over and over",
    DropReason.PROMPT_LEAK: "holds a piece of the prompt",
    DropReason.UNFINISHED: "breaks off",
    DropReason.DUPLICATE: "the same words as an earlier caption of its unit",
    DropReason.NEAR_DUPLICATE: "nearly the same as an earlier caption of its unit",
    DropReason.REFUSAL: "speaks of the task, or declines it",
    DropReason.NON_LANGUAGE: "wrong script, symbols, code, addresses, letters run together",
    DropReason.NOT_WRITTEN: "the job it was to come from has none in its place",
    DropReason.IMAGE_DAMAGED: "the file that was to be imported is no image that can be read",
}
"""What each refusal means."""

TEMPLATES: Mapping[str, str] = {
    Template.CONCEPT: "the concept alone",
    Template.BACKGROUND: "the concept and a background",
    Template.RELATION: "the concept and a relation",
    Template.JOINED: "joined without a language model",
    Template.GIVEN: "a line of a file",
}
"""What each template is given."""


@router.get("/jobs/{job}/captions-report")
async def caption_report(request: Request, job: str, web: Web, visitor: CurrentVisitor, services: Services) -> Response:
    return web.pages.page(request, "caption_report.html", visitor, **await _context(job, visitor, services))


@router.get("/jobs/{job}/captions-report/live")
async def live(request: Request, job: str, web: Web, visitor: CurrentVisitor, services: Services) -> Response:
    return web.pages.page(request, "caption_report_live.html", visitor, **await _context(job, visitor, services))


@router.get("/jobs/{job}/captions-report.json")
async def as_json(job: str, visitor: CurrentVisitor, services: Services) -> Response:
    """The API's own answer, for a browser that cannot send a header with it."""
    report = await reports.report(job, visitor.principal, services)
    headers = {"Content-Disposition": f'attachment; filename="{report.job}-captions-report.json"'}
    return Response(report.to_bytes(), media_type="application/json", headers=headers)


async def _context(job: str, visitor: Visitor, services: ApiServices) -> dict[str, Any]:
    spec: JobSpec = await asyncio.to_thread(services.jobs.spec, job, visitor.principal)
    report = await reports.report(job, visitor.principal, services)
    return {
        "spec": spec,
        "report": report,
        "lengths": histogram(report.words.histogram) if report.words is not None else None,
        "reasons": REASONS,
        "template_words": TEMPLATES,
        "no_concept": NO_CONCEPT,
    }
