"""Errors beside the form field that they concern, in the API's own words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import ValidationError

from synfarm.contracts.problems import Problem, ProblemError
from synfarm_caption_api.web.cures import for_reader

__all__ = ["FormProblems", "from_problem", "from_validation", "single"]

FormProblems = dict[str, Problem]
"""By form field; ``""`` holds what concerns no single field."""


def from_validation(
    error: ValidationError, places: Mapping[str, str], whole: Mapping[str, str] | None = None
) -> FormProblems:
    """The first error of each field.

    Args:
        places: form field by dotted name of the request, or by the beginning of one.
        whole: form field by the beginning of a message, for what concerns no single field of the request.
    """
    found: FormProblems = {}
    for item in error.errors():
        dotted = ".".join(str(part) for part in item["loc"])
        message = item["msg"].removeprefix("Value error, ")
        of_all = {} if dotted or whole is None else whole
        began = (field for words, field in of_all.items() if message.startswith(words))
        field = next(began, None) or _field(dotted, places)
        found.setdefault(field, _problem("invalid request", message, dotted or None))
    return found


def from_problem(error: ProblemError, places: Mapping[str, str]) -> FormProblems:
    """A problem that a service raised, at its field, with the cure that the page has."""
    return {_field(error.problem.field or "", places): for_reader(error.problem)}


def single(field: str, message: str) -> FormProblems:
    """One error that the form's own reading found."""
    return {field: _problem("invalid request", message, field)}


def _problem(title: str, detail: str, field: str | None) -> Problem:
    return Problem(title=title, status=422, detail=detail[:1000], code="invalid_request", field=field)


def _field(dotted: str, places: Mapping[str, str]) -> str:
    parts: Sequence[str] = dotted.split(".")
    for end in range(len(parts), 0, -1):
        if (field := places.get(".".join(parts[:end]))) is not None:
            return field
    return ""
