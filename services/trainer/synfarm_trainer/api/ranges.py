"""The ``Range`` header of a download: RFC 9110, section 14, with one range a request as most servers have it."""

from __future__ import annotations

import re

__all__ = ["NoSuchRange", "range_of"]

_ONE = re.compile(r"bytes=(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))")


class NoSuchRange(Exception):
    """The range begins behind the end: 416."""


def range_of(header: str | None, size: int) -> tuple[int, int] | None:
    """(first byte, last byte) of what is asked for; None for the whole: no header, several ranges, or nonsense.

    Raises:
        NoSuchRange: nothing of it is there.
    """
    match = _ONE.fullmatch(header.replace(" ", "")) if header else None
    if match is None:
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        if size == 0 or int(suffix) == 0:
            raise NoSuchRange
        return max(0, size - int(suffix)), size - 1
    if last and int(last) < int(first):
        return None  # malformed, and so ignored
    if int(first) >= size:
        raise NoSuchRange
    return int(first), min(int(last) if last else size - 1, size - 1)
