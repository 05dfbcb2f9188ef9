"""What a client meets when a request fails: the server's problem as an exception, or no answer at all."""

from __future__ import annotations

import httpx
from pydantic import ValidationError

from synfarm.contracts.problems import Problem

__all__ = ["ApiError", "ApiUnreachable", "NotAllowed", "NotFound", "Refused", "SynfarmError", "raise_for_problem"]


class SynfarmError(Exception):
    """Root of all errors of the client."""


class ApiUnreachable(SynfarmError):
    """No answer after all tries: connection refused, time-out, 5xx in between.

    What makes the language model write is tried once only where it was sent and not answered in time.
    """


class ApiError(SynfarmError):
    """The server answered with a problem; the message says what, which field, and what to do next."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        parts = [problem.detail, f"(field: {problem.field})" if problem.field else "", problem.hint or ""]
        super().__init__(" ".join(filter(None, parts)))

    @property
    def code(self) -> str:
        """Stable name for programs."""
        return self.problem.code

    @property
    def field(self) -> str | None:
        return self.problem.field

    @property
    def hint(self) -> str | None:
        return self.problem.hint

    @property
    def status(self) -> int:
        return self.problem.status


class NotAllowed(ApiError):
    """401 or 403: the key is missing, unknown, or not entitled."""


class NotFound(ApiError):
    """404: no such job or run, or not one that this key may see."""


class Refused(ApiError):
    """400, 409, 413, 422: the request itself must change."""


def _kind(status: int) -> type[ApiError]:
    if status in {401, 403}:
        return NotAllowed
    if status == 404:
        return NotFound
    return Refused if status in {400, 409, 410, 413, 415, 422} else ApiError


def raise_for_problem(response: httpx.Response) -> None:
    """Nothing for a success; the body must have been read.

    Raises:
        ApiError: of the class that fits the status, with the server's problem or one made of a foreign answer.
    """
    if response.status_code < 400:
        return
    try:
        problem = Problem.from_peer(response.content)
    except ValidationError:
        # A proxy's page, or a server that is not ours.
        detail = f"{response.request.method} {response.request.url} answered {response.status_code}"
        hint = "Check that the address is that of a synfarm API."
        problem = Problem(
            title="foreign answer", status=response.status_code, detail=detail, code="foreign_answer", hint=hint
        )
    raise _kind(problem.status)(problem)
