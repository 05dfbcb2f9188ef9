"""What a job has made, to look at: captions with their images, and where each comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response

from synfarm.concepts.licences import COLLAGE_LICENCES
from synfarm.contracts.jobs import JobSpec
from synfarm.contracts.problems import Problem, ProblemError
from synfarm.contracts.views import SampleGroup
from synfarm.storage.protocol import StoreError
from synfarm.telemetry import get_logger
from synfarm_caption_api.api import samples as sample_routes
from synfarm_caption_api.api.services import ApiServices, Services
from synfarm_caption_api.web.parts import Web, WebParts
from synfarm_caption_api.web.visitor import CurrentVisitor, Visitor

__all__ = ["Samples", "first_samples", "router"]

_log = get_logger(__name__)
router = APIRouter()
_GROUPS = 12
Concept = Annotated[str | None, Query(max_length=80)]
Cursor = Annotated[int | None, Query(ge=0, lt=10**10)]


@dataclass(frozen=True, slots=True)
class Samples:
    """A page of the gallery, or what keeps it away."""

    groups: tuple[SampleGroup, ...] = ()
    damaged: int = 0
    """Groups of this page that are not what was committed, and are not shown."""
    next_cursor: int | None = None
    problem: Problem | None = None


def first_samples(
    services: ApiServices, visitor: Visitor, spec: JobSpec, concept: str | None, cursor: int | None
) -> Samples:
    """A page of samples; one that cannot be read does not take the job's own page with it."""
    try:
        page = sample_routes.samples(
            spec.job, visitor.principal, services, concept=concept, per_concept=None, cursor=cursor or 0, limit=_GROUPS
        )
    except ProblemError as error:
        return Samples(problem=error.problem)
    except StoreError as error:
        _log.error("gallery_not_read", job=spec.job, error=str(error))
        problem = Problem(
            title="images not read",
            status=503,
            detail="The store does not give these images as they were written.",
            code="samples_not_read",
            hint="Load the page again; /readyz tells whether the store is there.",
        )
        return Samples(problem=problem)
    return Samples(page.items, len(page.damaged), page.next_cursor)


@router.get("/jobs/{job}/gallery")
def gallery(
    request: Request,
    job: str,
    web: Web,
    visitor: CurrentVisitor,
    services: Services,
    concept: Concept = None,
    cursor: Cursor = None,
) -> Response:
    """The gallery alone, for a page that waits for its first images."""
    spec = services.jobs.spec(job, visitor.principal)
    return web.pages.page(
        request,
        "gallery.html",
        visitor,
        spec=spec,
        job=services.jobs.view(spec),
        samples=first_samples(services, visitor, spec, concept or None, cursor),
        concept=concept or "",
        cursor=cursor,
    )


@router.get("/jobs/{job}/samples/{caption_id}.json")
def sample_json(job: str, caption_id: str, visitor: CurrentVisitor, services: Services) -> Response:
    """The sample's own JSON, as it lies in the shard: what drawing it again needs."""
    group = sample_routes.sample(job, caption_id, visitor.principal, services)
    headers = {"Content-Disposition": f'attachment; filename="{group.caption_id}.json"'}
    return Response(group.meta.to_bytes(), media_type="application/json", headers=headers)


@router.get("/jobs/{job}/samples/{caption_id}")
def sample(
    request: Request, job: str, caption_id: str, web: Web, visitor: CurrentVisitor, services: Services
) -> Response:
    return _sample(request, "sample.html", job, caption_id, web, visitor, services)


@router.get("/jobs/{job}/samples/{caption_id}/detail")
def sample_detail(
    request: Request, job: str, caption_id: str, web: Web, visitor: CurrentVisitor, services: Services
) -> Response:
    """The same without the page around it, for the dialog."""
    return _sample(request, "sample_detail.html", job, caption_id, web, visitor, services)


def _sample(
    request: Request,
    template: str,
    job: str,
    caption_id: str,
    web: WebParts,
    visitor: Visitor,
    services: ApiServices,
) -> Response:
    group = sample_routes.sample(job, caption_id, visitor.principal, services)
    return web.pages.page(
        request,
        template,
        visitor,
        spec=services.jobs.spec(job, visitor.principal),
        group=group,
        licences=COLLAGE_LICENCES if group.meta.renderer == "collage" else (),
        redraw=_redraw(group),
    )


@router.get("/jobs/{job}/images/{caption_id}/{k}")
def image(
    job: str,
    caption_id: str,
    k: int,
    visitor: CurrentVisitor,
    services: Services,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """The API's image, for a browser that cannot send a header with it."""
    return sample_routes.image(job, caption_id, k, visitor.principal, services, if_none_match)


def _redraw(group: SampleGroup) -> str:
    """The commands that draw the group's first image again: with the farm at hand, and from the JSON alone."""
    out = f"{group.caption_id}.0.{group.meta.image_format}"
    file = f"{group.caption_id}.json"
    return (
        f"synfarm redraw {group.caption_id} 0 -o {out}\n"
        f"python -m synfarm_render_worker.redraw {file} --image 0 --out {out}"
    )
