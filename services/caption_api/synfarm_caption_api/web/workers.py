"""Which workers live, what they serve, and how long ago each last got on with its unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response

from synfarm.contracts.workers import WorkerInfo
from synfarm_caption_api.api import operations
from synfarm_caption_api.api.services import ApiServices, Services
from synfarm_caption_api.web.parts import Web
from synfarm_caption_api.web.visitor import CurrentVisitor, Visitor

__all__ = ["WorkerUnit", "router"]

router = APIRouter()


@dataclass(frozen=True, slots=True)
class WorkerUnit:
    """A unit in work, as a link."""

    job: str
    unit: str


@router.get("/workers")
def workers(request: Request, web: Web, visitor: CurrentVisitor, services: Services) -> Response:
    return web.pages.page(request, "workers.html", visitor, **_context(visitor, services))


@router.get("/workers/live")
def live(request: Request, web: Web, visitor: CurrentVisitor, services: Services) -> Response:
    return web.pages.page(request, "workers_live.html", visitor, **_context(visitor, services))


def _context(visitor: Visitor, services: ApiServices) -> dict[str, Any]:
    found = operations.workers(visitor.principal, services).items
    rows = [(worker, [_unit(name) for name in worker.units]) for worker in sorted(found, key=_order)]
    return {"workers": rows, "units_hidden": visitor.principal.role != "admin"}


def _order(worker: WorkerInfo) -> tuple[str, str]:
    return worker.kind, worker.id


def _unit(name: str) -> WorkerUnit:
    job, _, unit = name.partition("/")
    return WorkerUnit(job, unit)
