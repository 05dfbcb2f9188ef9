"""Parameters that several routes have, described once."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query

from synfarm.contracts.problems import ProblemError

__all__ = ["CaptionPath", "IndexCursor", "JobPath", "check_cursor"]

JobPath = Annotated[str, Path(max_length=64, description="Id of the job: 26 lower-case characters.")]
CaptionPath = Annotated[str, Path(max_length=64, description="Id of the caption: `<job>-<index, ten digits>`.")]
IndexCursor = Annotated[int, Query(ge=0, lt=10**10, description="`next_cursor` of the page before.")]


def check_cursor(cursor: int, end: int, what: str) -> int:
    """The cursor itself, if a page of this job could have given it.

    Raises:
        ProblemError: 422, it is of another job, or of nothing.
    """
    if cursor and cursor >= end:
        detail = f"cursor {cursor} has expired or is of another job: this one has {end} {what}."
        hint = "Begin again without cursor, then pass each page's next_cursor."
        raise ProblemError(422, "cursor_expired", detail, field="cursor", hint=hint)
    return cursor
