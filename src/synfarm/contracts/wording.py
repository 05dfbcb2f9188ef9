"""What is wrong with a value, in the words of somebody who typed it: pydantic's own hold patterns and types."""

from __future__ import annotations

from pydantic import ValidationError

__all__ = ["in_words", "made_of"]

_BEGINS = "and begin with a letter or digit"
_MADE_OF = {
    r"^[A-Za-z0-9][A-Za-z0-9._ -]{0,79}$": f"must be up to 80 letters, digits, spaces or . _ - {_BEGINS}",
    r"^[A-Za-z0-9][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)*$": f"must be letters, digits, - _ or single dots {_BEGINS}",
    r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,199}$": f"must be up to 200 letters, digits or . _ / - {_BEGINS}",
    r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,99}$": f"must be up to 100 letters, digits or . _ / - {_BEGINS}",
    r"^[A-Za-z0-9._-]{1,120}\.safetensors$": "must be the name of a .safetensors file, without folders",
    r"^[a-z0-9]{1,16}$": "must be up to 16 small letters or digits",
    r"^[a-z0-9][a-z0-9-]{0,39}$": "must be up to 40 small letters, digits or - and not begin with -",
    r"^[^\x00-\x1f\x7f]+$": "must hold no control characters or line breaks",
    r"^[^\x00-\x1f\x7f]*$": "must hold no control characters or line breaks",
    r"^[^\r\n]+$": "must be one line",
    r"^[\x21-\x7e]+$": "must be one word of plain ASCII characters",
    r"^[0-7][0-9a-hjkmnp-tv-z]{25}$": "must be an id of 26 small letters and digits",
}
"""By pattern, which no user should have to read."""


def made_of(pattern: str) -> str | None:
    """What a text must be to match; None for a pattern that no user meets."""
    return _MADE_OF.get(pattern)


def in_words(error: ValidationError) -> str:
    """The first fault as the end of a sentence that begins with the value's name."""
    fault = error.errors()[0]
    told = fault.get("ctx", {})
    if fault["type"] == "string_pattern_mismatch":
        return made_of(told["pattern"]) or "holds characters that it may not"
    if fault["type"] == "string_too_long":
        return f"must have at most {told['max_length']} characters, not {len(str(fault['input']))}"
    if fault["type"] == "string_too_short":
        least = told["min_length"]
        return "must not be empty" if least == 1 else f"must have at least {least} characters"
    if fault["type"] == "model_type":
        return f"must be an object of named values, not {_kind(fault['input'])}"
    return fault["msg"].removeprefix("Value error, ").replace("Input should", "must", 1)


def _kind(value: object) -> str:
    kinds = {list: "a list", tuple: "a list", str: "a text", bool: "true or false", int: "a number", float: "a number"}
    return kinds.get(type(value), "nothing" if value is None else "that")
