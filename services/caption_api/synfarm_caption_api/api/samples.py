"""Routes of what a job has drawn: sample groups with their provenance, and single images."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Path, Query, Response

from synfarm.auth import Principal
from synfarm.concepts import near
from synfarm.contracts.ids import parse_caption_id
from synfarm.contracts.jobs import JobSpec
from synfarm.contracts.problems import Problem, ProblemError
from synfarm.contracts.views import SampleGroup, SamplePage
from synfarm.storage.protocol import StoreDamaged
from synfarm.telemetry import get_logger
from synfarm.web import CurrentPrincipal
from synfarm_caption_api.api.parameters import CaptionPath, IndexCursor, JobPath
from synfarm_caption_api.api.services import ApiServices, Services
from synfarm_caption_api.prompts.concept_plan import ConceptPlan
from synfarm_caption_api.samples.candidates import Query as SampleQuery
from synfarm_caption_api.samples.reader import Located, Missing, Sample

__all__ = ["router"]

_log = get_logger(__name__)
router = APIRouter(prefix="/v1/jobs/{job}", tags=["samples"])

_MEDIA_TYPES = {"jpg": "image/jpeg", "webp": "image/webp"}
_MOST_NAMES = 5000
"""Concepts of a job among which near names are looked for."""


@router.get("/samples", summary="Look at groups spread over the job")
def samples(
    job: JobPath,
    who: CurrentPrincipal,
    services: Services,
    concept: Annotated[str | None, Query(max_length=80, description="Groups of this concept only.")] = None,
    per_concept: Annotated[
        int | None, Query(ge=1, le=100, description="At most so many of one concept; the others are passed over.")
    ] = None,
    cursor: IndexCursor = 0,
    limit: Annotated[int, Query(ge=1, le=100)] = 24,
) -> SamplePage:
    """Committed groups, with captions, provenance and the paths of their images.

    Every page is spread evenly over the job, and following the cursor meets each group once, also while the job grows.
    The work is bounded: a page may be short, even empty, and still have a cursor.
    """
    spec = services.jobs.spec(job, who)
    place = _number(services.samples.plan(spec), spec, concept) if concept is not None else None
    query = SampleQuery(limit=limit, cursor=cursor, concept=place, per_concept=per_concept)
    sampling = services.samples.page(spec, query)
    return SamplePage(
        items=tuple(_group(spec, sample) for sample in sampling.samples),
        damaged=sampling.damaged,
        next_cursor=sampling.next_cursor,
    )


@router.get("/samples/{caption_id}", summary="Look at one group", responses={500: {"model": Problem}})
def sample(job: JobPath, caption_id: CaptionPath, who: CurrentPrincipal, services: Services) -> SampleGroup:
    """One caption with its provenance and the paths of its images."""
    spec, located = _located(job, caption_id, who, services)
    try:
        return _group(spec, services.samples.sample(located))
    except StoreDamaged as error:
        raise _damaged(caption_id, error) from error


@router.get(
    "/images/{caption_id}/{k}",
    summary="Get one image",
    response_class=Response,
    responses={
        200: {"content": {kind: {} for kind in _MEDIA_TYPES.values()}, "description": "The image file."},
        304: {"description": "The image that the client has (`If-None-Match`) is the right one."},
        500: {"model": Problem},
    },
)
def image(
    job: JobPath,
    caption_id: CaptionPath,
    k: Annotated[int, Path(ge=0, lt=64, description="Which of the caption's images, from 0.")],
    who: CurrentPrincipal,
    services: Services,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """The bytes of an image as they were committed: they never change, so a client may keep them."""
    _, located = _located(job, caption_id, who, services)
    row = located.row
    if k >= len(row.members) - 1:
        detail = f"Sample {row.caption_id} has the images 0 to {len(row.members) - 2}, not {k}."
        raise ProblemError(404, "image_not_found", detail, field="k", hint="Ask for one of those.")
    etag = f'"{row.sha256[:32]}-{k}"'
    headers = {"ETag": etag, "Cache-Control": "private, max-age=31536000, immutable"}
    if if_none_match is not None and _matches(if_none_match, etag):
        return Response(status_code=304, headers=headers)
    try:
        data = services.samples.fetch(located).images[k]
    except StoreDamaged as error:
        raise _damaged(caption_id, error) from error
    name = row.members[k].name
    headers |= {"Content-Disposition": f'inline; filename="{name}"', "X-Content-Type-Options": "nosniff"}
    return Response(
        data, headers=headers, media_type=_MEDIA_TYPES.get(name.rpartition(".")[2], "application/octet-stream")
    )


def _located(job: str, caption_id: str, who: Principal, services: ApiServices) -> tuple[JobSpec, Located]:
    """The group, if the job is one that the caller may see."""
    spec = services.jobs.spec(job, who)
    try:
        owner, index = parse_caption_id(caption_id)
    except ValueError:
        owner, index = "", 0
    if owner != spec.job:
        detail = f"{caption_id!r} is no caption of job {spec.job}."
        hint = f"A caption id looks like {spec.job}-{0:010d}; GET /v1/jobs/{spec.job}/samples shows some."
        raise ProblemError(404, "sample_not_found", detail, field="caption_id", hint=hint)
    try:
        return spec, services.samples.locate(spec, index)
    except Missing as error:
        hint = f"GET /v1/jobs/{spec.job}/samples shows what there is."
        raise ProblemError(404, error.code, str(error), field="caption_id", hint=hint) from error
    except StoreDamaged as error:
        raise _damaged(caption_id, error) from error


def _damaged(caption_id: str, error: StoreDamaged) -> ProblemError:
    _log.error("sample_damaged", caption_id=caption_id, error=str(error))
    return ProblemError(
        500,
        "sample_damaged",
        f"What is stored of {caption_id} is not what was committed, so it is not shown.",
        field="caption_id",
        hint="Other samples are not concerned, and training replaces this one by itself; check the object store.",
    )


def _group(spec: JobSpec, sample: Sample) -> SampleGroup:
    row = sample.located.row
    return SampleGroup(
        caption_id=row.caption_id,
        index=row.index,
        unit=sample.located.unit,
        concept=row.concept,
        caption=sample.meta.caption,
        images=tuple(f"/v1/jobs/{spec.job}/images/{row.caption_id}/{k}" for k in range(len(row.members) - 1)),
        meta=sample.meta,
    )


def _number(plan: ConceptPlan, spec: JobSpec, concept: str) -> int:
    """Number of the concept in the job's plan."""
    found = plan.find(concept)
    if found is not None:
        return found
    close = near(concept, plan.concepts()) if plan.names <= _MOST_NAMES else []
    hint = f"Did you mean: {', '.join(close)}?" if close else f"GET /v1/jobs/{spec.job}/spec tells what it is made of."
    if not plan.names:
        hint = "Its captions come from a file, whose concepts nobody knows beforehand: leave concept out."
    raise ProblemError(422, "concept_not_in_job", f"The job has no concept {concept!r}.", field="concept", hint=hint)


def _matches(header: str, etag: str) -> bool:
    """``If-None-Match`` (RFC 9110, 13.1.2): a list of tags, weak comparison, or ``*``."""
    return any(tag.strip().removeprefix("W/") in {etag, "*"} for tag in header.split(","))
