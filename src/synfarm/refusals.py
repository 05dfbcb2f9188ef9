"""How a request that does not fit its model is refused: which field, what is wrong with it, what to do next."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel

from synfarm.contracts.base import FieldFault
from synfarm.contracts.problems import Problem
from synfarm.contracts.wording import made_of

__all__ = ["refusal"]

Fault = Mapping[str, Any]
"""One entry of ``ValidationError.errors()``."""

_TOLD = 5
"""Faults told at once, so that a body is mended in one go."""
_SHOWN = 40
"""Characters of a wrong value that are repeated to its sender."""
_WORDS = {
    "missing": "is missing",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "dict_type": "must be an object",
}
_KINDS = {
    "int": "must be a whole number",
    "float": "must be a number",
    "bool": "must be true or false",
    "string": "must be a text",
}
_BOUNDS = {
    "greater_than_equal": ("ge", "must be at least"),
    "greater_than": ("gt", "must be more than"),
    "less_than_equal": ("le", "must be at most"),
    "less_than": ("lt", "must be less than"),
}


def refusal(faults: Sequence[Fault], model: Any = None) -> Problem:
    """The 422 for the faults of one request.

    Args:
        faults: as the framework reports them, each ``loc`` beginning with body, query, path or header.
        model: annotation of the body, if there is one: a field that does not exist gets the near names of those that
            do.
    """
    if faults[0]["type"] == "json_invalid":
        why = faults[0].get("ctx", {}).get("error", "")
        detail = f"The body is not JSON: {why} (at character {faults[0]['loc'][-1]})."
        return _problem("body", detail, "Send one JSON object.")
    told = _own(faults)
    first = told[0]
    if _place(first) == "body" and first["type"] in _WORDS:
        wrong = "There is no body." if first["type"] == "missing" else "The body is not a JSON object."
        return _problem("body", wrong, "Send one, with the header 'Content-Type: application/json'.")
    parts = [_sentence(fault) for fault in told[:_TOLD]]
    more = f"; and {len(told) - _TOLD} more" if len(told) > _TOLD else ""
    what = "the body" if _place(first) == "body" else f"'{_place(first)}'"
    hint = f"Correct {what} and send the request again; /openapi.json describes every field."
    strange = next((fault for fault in told if fault["type"] == "extra_forbidden"), None)
    if strange is not None:
        hint = _known_fields(strange, model) or hint
    return _problem(_place(first), f"{'; '.join(parts)}{more}"[:2000] + ".", hint)


def _problem(field: str, detail: str, hint: str) -> Problem:
    return Problem(title="invalid request", status=422, detail=detail, code="invalid_request", field=field, hint=hint)


def _own(faults: Sequence[Fault]) -> list[Fault]:
    """Without the faults that follow from others: a list whose only item is wrong also counts as empty."""
    places = [tuple(fault["loc"]) for fault in faults]

    def follows(fault: Fault) -> bool:
        place = tuple(fault["loc"])
        return fault["type"] == "too_short" and any(p[: len(place)] == place and p != place for p in places)

    return [fault for fault in faults if not follows(fault)]


def _place(fault: Fault) -> str:
    # The validator of a whole object tells itself which of its fields is at fault.
    parts = [str(part) for part in (*fault["loc"], *_own_place(fault))]
    return ".".join(parts[1:]) or parts[0]


def _own_place(fault: Fault) -> tuple[str | int, ...]:
    error = fault.get("ctx", {}).get("error")
    return error.place if isinstance(error, FieldFault) else ()


def _sentence(fault: Fault) -> str:
    place, words = _place(fault), _words(fault)
    if place == "body":  # the model as a whole: its message tells of its fields
        return words
    return f"{place} {words}" if words.startswith(("must", "is ")) else f"{place}: {words}"


def _words(fault: Fault) -> str:
    kind, context, value = fault["type"], fault.get("ctx", {}), fault.get("input")
    if kind == "extra_forbidden":
        return "is not a field"
    if kind in _WORDS:
        return _WORDS[kind]
    if kind in _BOUNDS:
        key, words = _BOUNDS[kind]
        return f"{words} {_number(context[key])}, not {value}"
    if kind.endswith(("_parsing", "_type", "_from_float")) and kind.partition("_")[0] in _KINDS:
        return f"{_KINDS[kind.partition('_')[0]]}, not {_shown(value)}"
    if kind in {"too_short", "string_too_short"} and context.get("min_length") == 1:
        return "must not be empty"
    if kind in {"too_long", "string_too_long"}:
        unit = "characters" if kind.startswith("string") else "items"
        return f"must have at most {context['max_length']} {unit}"
    if kind == "string_pattern_mismatch":
        told = made_of(context["pattern"])
        return f"{told}, not {_shown(value)}" if told else f"holds characters that it may not: {_shown(value)}"
    message = str(fault["msg"]).removeprefix("Value error, ")
    if kind == "value_error":
        return message
    shown = f", not {_shown(value)}" if isinstance(value, str | int | float) else ""
    return message.replace("Input should", "must", 1) + shown


def _number(bound: float) -> str:
    return str(int(bound)) if bound == int(bound) else str(bound)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _known_fields(fault: Fault, model: Any) -> str | None:
    """What to do about a field that does not exist."""
    *path, name = fault["loc"]
    owner = _model_at(model, path[1:])
    if path[:1] != ["body"] or owner is None:
        return None
    names = sorted(owner.model_fields)
    close = difflib.get_close_matches(str(name), names, n=3, cutoff=0.6)
    return f"Did you mean {' or '.join(close)}?" if close else f"The fields are: {', '.join(names)}."


def _model_at(annotation: Any, path: Sequence[object]) -> type[BaseModel] | None:
    """The model that holds a field, found by following its path through the annotations."""
    if get_origin(annotation) in {Union, UnionType}:
        found = (_model_at(choice, path) for choice in get_args(annotation))
        return next((model for model in found if model is not None), None)
    if path and isinstance(path[0], int):
        items = get_args(annotation)
        return _model_at(items[0], path[1:]) if items else None
    if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        return None
    if not path:
        return annotation
    field = annotation.model_fields.get(str(path[0]))
    return _model_at(field.annotation, path[1:]) if field is not None else None
