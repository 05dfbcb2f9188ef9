"""Training runs: the list, one run with its curves and evaluations, its files, stop and resume."""

from __future__ import annotations

import mimetypes
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse, StreamingResponse
from pydantic import JsonValue

from synfarm.contracts import layout
from synfarm.contracts.ids import check_ulid
from synfarm.contracts.problems import ProblemError
from synfarm.contracts.views import RunView
from synfarm_caption_api.web.curves import Curve
from synfarm_caption_api.web.evaluations import evaluation_curves, evaluations
from synfarm_caption_api.web.parts import Web, WebParts
from synfarm_caption_api.web.trainer import ArtifactRow, Trainer
from synfarm_caption_api.web.visitor import CurrentVisitor, Visitor

__all__ = ["router"]

router = APIRouter()
_RUNS = 20
_PICTURES = {"image/png", "image/jpeg", "image/webp"}
_TABLE_ROWS = 12
_CHECKPOINTS = 5
Cursor = Annotated[str | None, Query(max_length=26)]


@router.get("/runs")
async def runs(request: Request, web: Web, visitor: CurrentVisitor, cursor: Cursor = None) -> Response:
    return web.pages.page(request, "runs.html", visitor, **await _list(web, visitor, cursor))


@router.get("/runs/live")
async def runs_live(request: Request, web: Web, visitor: CurrentVisitor, cursor: Cursor = None) -> Response:
    return web.pages.page(request, "runs_live.html", visitor, **await _list(web, visitor, cursor))


async def _list(web: WebParts, visitor: Visitor, cursor: str | None) -> dict[str, Any]:
    """The list, or what keeps it away: the rest of the page does not need the trainer."""
    found: dict[str, Any] = {"page": None, "cursor": cursor, "problem": None}
    if web.trainer is not None:
        try:
            found["page"] = await web.trainer.page(visitor.authorization, cursor, _RUNS)
        except ProblemError as error:
            found["problem"] = error.problem
    return found


@router.get("/runs/{run}")
async def run_page(request: Request, run: str, web: Web, visitor: CurrentVisitor) -> Response:
    trainer, view = await _run(web, visitor, run)
    reading = await web.curves.read(trainer, visitor.authorization, view, _TABLE_ROWS)
    spec = await trainer.spec(visitor.authorization, view.run)
    return web.pages.page(
        request,
        "run.html",
        visitor,
        run=view,
        losses=reading.panels.get("losses", []),
        settings=list(_flat(spec.config)),
        **await _results(trainer, visitor, view),
    )


@router.get("/runs/{run}/live")
async def run_live(request: Request, run: str, web: Web, visitor: CurrentVisitor) -> Response:
    _, view = await _run(web, visitor, run)
    return web.pages.page(request, "run_live.html", visitor, run=view)


@router.get("/runs/{run}/results")
async def run_results(request: Request, run: str, web: Web, visitor: CurrentVisitor) -> Response:
    """Evaluations, checkpoints and files, which change rarely."""
    trainer, view = await _run(web, visitor, run)
    return web.pages.page(request, "run_results.html", visitor, run=view, **await _results(trainer, visitor, view))


async def _results(trainer: Trainer, visitor: Visitor, view: RunView) -> dict[str, Any]:
    files = await trainer.artifacts(visitor.authorization, view.run)
    checkpoints = await trainer.checkpoints(visitor.authorization, view.run)
    return {
        "checkpoints": checkpoints[-_CHECKPOINTS:][::-1],
        "older_checkpoints": max(0, len(checkpoints) - _CHECKPOINTS),
        "evaluations": evaluations(view.evals),
        "pictures": [file for file in files if _is_picture(file)],
        "files": files,
    }


@router.get("/runs/{run}/curves")
async def run_curves(
    run: str, web: Web, visitor: CurrentVisitor, buckets: Annotated[int, Query(ge=10, le=2000)] = 400
) -> dict[str, Any]:
    """What the curves are drawn from: panels of lines, each point ``[step, mean, least, greatest]``."""
    trainer, view = await _run(web, visitor, run)
    reading = await web.curves.read(trainer, visitor.authorization, view, buckets)
    panels = [_panel(name, lines) for name, lines in reading.panels.items()]
    shares, floors = evaluation_curves(evaluations(view.evals))
    if shares:
        panels.insert(min(1, len(panels)), {**_panel("evaluation, top-1", shares), "share": True, "floors": floors})
    return {
        "step": reading.step,
        "total": view.total_steps,
        "more": reading.more,
        "final": view.state.is_final,
        "panels": panels,
    }


def _panel(name: str, lines: list[Curve]) -> dict[str, Any]:
    return {
        "name": name,
        "share": name == "wait for data",
        "floors": [],
        "lines": [
            {
                "name": line.name,
                "points": [[step, *(float(f"{value:.6g}") for value in values)] for step, *values in line.points],
            }
            for line in lines
        ],
    }


@router.get("/runs/{run}/artifacts/{name}")
async def run_artifact(run: str, name: str, web: Web, visitor: CurrentVisitor) -> Response:
    """An exported file: pictures to look at, everything else to keep."""
    trainer, view = await _run(web, visitor, run)
    try:
        layout.export_file(view.run, name)
    except ValueError as error:
        raise ProblemError(404, "artifact_not_found", "This run has no such file.") from error
    file = await trainer.artifact(visitor.authorization, view.run, name)
    shown = file.media_type in _PICTURES
    headers = {"Content-Disposition": "inline" if shown else f'attachment; filename="{name}"'}
    if file.length is not None:
        headers["Content-Length"] = file.length
    kind = file.media_type if shown else "application/octet-stream"
    return StreamingResponse(file.body, media_type=kind, headers=headers)


@router.post("/runs/{run}/signal/{signal}")
async def run_signal(run: str, signal: Literal["stop", "resume"], web: Web, visitor: CurrentVisitor) -> Response:
    trainer, view = await _run(web, visitor, run)
    await trainer.signal(visitor.authorization, view.run, signal)
    return RedirectResponse(f"/ui/runs/{view.run}", status_code=303)


async def _run(web: WebParts, visitor: Visitor, run: str) -> tuple[Trainer, RunView]:
    """The trainer, and the run as the visitor may see it.

    Raises:
        ProblemError: no trainer is set, it does not answer, or there is no such run.
    """
    if web.trainer is None:
        raise ProblemError(
            503,
            "no_trainer",
            "This server knows no trainer.",
            hint="Start caption-api with SYNFARM_CAPTION_API_TRAINER_URL=http://host:port of the trainer.",
        )
    try:
        check_ulid(run)
    except ValueError as error:
        raise ProblemError(404, "run_not_found", f"There is no run {run[:64]!r} that you may see.") from error
    return web.trainer, await web.trainer.run(visitor.authorization, run)


def _flat(config: Mapping[str, JsonValue], prefix: str = "") -> Iterator[tuple[str, JsonValue]]:
    """A tree of settings by dotted names, as overrides name them."""
    for name, value in config.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _is_picture(file: ArtifactRow) -> bool:
    return mimetypes.guess_type(file.name)[0] in _PICTURES
