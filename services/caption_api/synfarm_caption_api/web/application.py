"""The page as an application of its own below ``/ui``: its errors are pages, its answers carry a strict policy."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from starlette.datastructures import MutableHeaders, State
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from synfarm.contracts.problems import PROBLEM_MEDIA_TYPE, Problem, ProblemError
from synfarm.storage.protocol import StoreError
from synfarm.telemetry import get_logger
from synfarm_caption_api.web import (
    caption_report,
    gallery,
    job_steering,
    jobs,
    new_job,
    new_run,
    runs,
    sign_in,
    workers,
)
from synfarm_caption_api.web.cures import for_reader
from synfarm_caption_api.web.curves import CurveBook
from synfarm_caption_api.web.parts import WebParts
from synfarm_caption_api.web.rendering import Pages
from synfarm_caption_api.web.trainer import Trainer
from synfarm_caption_api.web.visitor import refuse_cross_site, visitor_of

__all__ = ["mount_web"]

_log = get_logger(__name__)
_STATIC = Path(__file__).with_name("static")
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    # Not no-referrer: a browser would then hide the Origin of the page's own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class _SafeHeaders:
    """ASGI middleware: the same protective headers on every answer, errors and files included."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                # What a signed-in person saw is not kept for the next one; images say otherwise for themselves.
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self._app(scope, receive, with_headers)


class _Static(StaticFiles):
    """Files of the page: kept by the browser, asked after each time, so that an upgrade shows at once."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = "no-cache"
        return response


def mount_web(app: FastAPI, trainer: Trainer | None) -> None:
    """Serve the page from ``app``: ``/`` leads to ``/ui/``, and everything else of it lies below."""

    @app.get("/", include_in_schema=False)
    def root() -> Response:
        return RedirectResponse("/ui/")

    app.state.web = WebParts(pages=Pages(), trainer=trainer, curves=CurveBook())
    app.mount("/ui", _make_web(app.state))


def _make_web(state: State) -> FastAPI:
    web = FastAPI(
        title="synfarm page",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        dependencies=[Depends(refuse_cross_site)],
    )
    web.state = state  # one set of services, whichever application a request comes in by
    web.add_middleware(_SafeHeaders)
    for module in (sign_in, new_job, jobs, job_steering, caption_report, gallery, workers, new_run, runs):
        web.include_router(module.router)
    web.mount("/static", _Static(directory=_STATIC))
    _handle_errors(web)
    return web


def _handle_errors(web: FastAPI) -> None:
    @web.exception_handler(ProblemError)
    def _problem(request: Request, error: ProblemError) -> Response:
        return _answer(request, error.problem, error.retry_after)

    @web.exception_handler(RequestValidationError)
    def _invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"][1:])
        problem = Problem(
            title="invalid address",
            status=422,
            detail=f"{field}: {first['msg']}",
            code="invalid_request",
            field=field,
            hint="Follow a link of the page instead of changing its address.",
        )
        return _answer(request, problem)

    @web.exception_handler(HTTPException)
    def _http(request: Request, error: HTTPException) -> Response:
        if error.status_code < 400:
            return Response(status_code=error.status_code, headers=error.headers)
        problem = Problem(
            title="no such page" if error.status_code == 404 else str(error.detail).lower(),
            status=error.status_code,
            detail=f"{request.method} {request.url.path}: {error.detail}",
            code={404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "http_error"),
            hint="The jobs are one click away.",
        )
        return _answer(request, problem)

    @web.exception_handler(StoreError)
    def _store_away(request: Request, error: StoreError) -> Response:
        _log.error("store_failed", path=request.url.path, error=str(error))
        problem = Problem(
            title="store away",
            status=503,
            detail="The object store does not answer as it should.",
            code="store_away",
            hint="Load the page again in a moment; /readyz tells more.",
        )
        return _answer(request, problem)


def _answer(request: Request, problem: Problem, retry_after: float | None = None) -> Response:
    """The problem as a page for people, as JSON for the page's own scripts."""
    wait = None if retry_after is None else max(1, math.ceil(retry_after))
    headers = {} if wait is None else {"Retry-After": str(wait)}
    if "text/html" not in request.headers.get("accept", ""):
        return Response(problem.to_bytes(), problem.status, headers, PROBLEM_MEDIA_TYPE)
    pages: Pages = request.app.state.web.pages
    if problem.status != 401:
        told = {"problem": for_reader(problem), "wait": wait}
        page = pages.page(request, "problem.html", visitor_of(request), status=problem.status, **told)
        page.headers.update(headers)
        return page
    target = "/ui/"
    if request.method == "GET":
        target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        if request.headers.get("sec-fetch-site") in {"cross-site", "same-site"}:
            # A strict cookie stays at home when a link of another site leads here. The page asks once more by itself.
            return pages.page(request, "again.html", target=target)
    return RedirectResponse(f"/ui/sign-in?next={quote(target)}", status_code=303)
