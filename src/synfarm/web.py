"""What the HTTP services share: problem answers, the key check, and Server-Sent Events that can be resumed."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, Request, Response
from fastapi.exceptions import RequestValidationError
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.exceptions import HTTPException

from synfarm.auth import Authenticator, Principal
from synfarm.contracts.events import Event
from synfarm.contracts.problems import PROBLEM_MEDIA_TYPE, Problem, ProblemError
from synfarm.host_check import HostCheck
from synfarm.refusals import refusal
from synfarm.telemetry import get_logger

__all__ = ["Admit", "CurrentPrincipal", "event_stream", "install"]

_log = get_logger(__name__)


Admit = Callable[[Principal], Awaitable[None]]
"""Raises ProblemError 429 when a key sends too many requests."""


async def _principal(request: Request, authorization: Annotated[str | None, Header()] = None) -> Principal:
    authenticate: Authenticator = request.app.state.authenticate
    who = authenticate(authorization)
    admit: Admit | None = request.app.state.admit
    if admit is not None:
        await admit(who)
    return who


CurrentPrincipal = Annotated[Principal, Depends(_principal)]
"""Route parameter: who asks; a request without a valid key ends in 401 before the route runs."""


def _answer(problem: Problem, retry_after: float | None = None) -> Response:
    headers = {"WWW-Authenticate": "Bearer"} if problem.status == 401 else {}
    if retry_after is not None:
        headers["Retry-After"] = str(max(1, math.ceil(retry_after)))
    return Response(problem.to_bytes(), problem.status, headers, PROBLEM_MEDIA_TYPE)


def _invalid(request: Request, error: RequestValidationError) -> Problem:
    body = getattr(request.scope.get("route"), "body_field", None)
    return refusal(error.errors(), body.field_info.annotation if body is not None else None)


def _unreadable(cause: Exception) -> Problem:
    """A body that is no JSON for a reason that the framework does not name."""
    if isinstance(cause, UnicodeDecodeError):
        detail = f"The body is not UTF-8: byte {cause.start} is 0x{cause.object[cause.start]:02x}."
        hint = "Encode the body as UTF-8 and send it again."
    else:
        detail, hint = "The body cannot be read as JSON.", "Send one JSON object that nests no deeper than needed."
    return ProblemError(422, "invalid_request", detail, field="body", hint=hint).problem


class _BodyLimit:
    """ASGI middleware: refuses bodies above the limit before they are read, whether or not they tell their length."""

    def __init__(self, app: Any, limit: int) -> None:
        self._app, self._limit = app, limit

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        seen = 0
        problem = ProblemError(
            413, "body_too_large", f"The body exceeds {self._limit} bytes.", hint="Send fewer items at once."
        )

        async def limited() -> Any:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._limit:
                raise problem
            return message

        length = dict(scope["headers"]).get(b"content-length", b"0")
        if length.isdigit() and int(length) > self._limit:
            await _answer(problem.problem)(scope, receive, send)
            return
        await self._app(scope, limited, send)


def install(app: FastAPI, authenticate: Authenticator, *, body_limit: int = 16 << 20) -> None:
    """Give ``app`` the shared behaviour: problem+json for every error, key check, body limit."""
    app.state.authenticate = authenticate
    app.state.admit = None
    app.add_middleware(_BodyLimit, limit=body_limit)
    if authenticate.open_hosts is not None:
        app.add_middleware(HostCheck, allowed=authenticate.open_hosts)

    @app.exception_handler(ProblemError)
    async def _problem(_: Request, error: ProblemError) -> Response:
        return _answer(error.problem, error.retry_after)

    @app.exception_handler(RequestValidationError)
    async def _validation(request: Request, error: RequestValidationError) -> Response:
        return _answer(_invalid(request, error))

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        if isinstance(error.__cause__, ProblemError):  # the framework wraps what is raised while it reads a body
            return _answer(error.__cause__.problem)
        if isinstance(error.__cause__, UnicodeDecodeError | RecursionError | ValueError):
            return _answer(_unreadable(error.__cause__))
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "http_error")
        detail = f"{request.method} {request.url.path}: {error.detail}"
        hint = "/openapi.json lists every path and its methods." if error.status_code in {404, 405} else None
        return _answer(Problem(title=str(error.detail), status=error.status_code, detail=detail, code=code, hint=hint))

    @app.exception_handler(Exception)
    async def _unexpected(request: Request, error: Exception) -> Response:
        _log.error("request_failed", path=request.url.path, exc_info=error)
        detail = "The server failed on this request; its log has the reason."
        return _answer(Problem(title="internal error", status=500, detail=detail, code="internal_error"))


def event_stream(
    events: AsyncIterator[Event], *, on_close: Callable[[], Awaitable[None]] | None = None, heartbeat: float = 15.0
) -> EventSourceResponse:
    """Answer with ``events`` as Server-Sent Events, with ids, and a comment line every ``heartbeat`` seconds."""

    async def lines() -> AsyncIterator[ServerSentEvent]:
        try:
            async for event in events:
                yield ServerSentEvent(data=event.model_dump_json(), id=event.id, event=event.type.value, sep="\n")
        except asyncio.CancelledError:
            raise
        finally:
            if on_close is not None:
                await on_close()

    return EventSourceResponse(lines(), ping=int(heartbeat), sep="\n")
