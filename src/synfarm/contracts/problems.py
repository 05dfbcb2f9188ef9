"""Errors as users meet them: RFC 9457 problem details with a stable code, the field, and what to do next."""

from __future__ import annotations

from pydantic import Field

from synfarm.contracts.base import Contract

__all__ = ["PROBLEM_MEDIA_TYPE", "Problem", "ProblemError"]

PROBLEM_MEDIA_TYPE = "application/problem+json"


class Problem(Contract):
    """``application/problem+json``."""

    type: str = "about:blank"
    title: str
    status: int = Field(ge=400, le=599)
    detail: str
    code: str = Field(pattern=r"^[a-z][a-z0-9_]{1,63}$")
    """Stable name for programs."""
    field: str | None = None
    """Dotted name of the offending field."""
    hint: str | None = None
    """What to do next."""


class ProblemError(Exception):
    """Raised anywhere below an HTTP route; the service's handler answers with the problem."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        field: str | None = None,
        hint: str | None = None,
        retry_after: float | None = None,
    ):
        """
        Args:
            retry_after: seconds after which the same request may be taken; sent as the header of that name.
        """
        super().__init__(detail)
        self.retry_after = retry_after
        title = code.replace("_", " ")
        self.problem = Problem(title=title, status=status, detail=detail, code=code, field=field, hint=hint)
