"""Cuts the items out of a list as language models write them: numbered, with dashes, a line each, or between commas."""

from __future__ import annotations

import re

__all__ = ["items_of"]

_MARK = re.compile(r"\s*(?:(?:[-*•–—·+]+|\(?\d{1,3}[.):]|\(?[a-z]\))\s*)+", re.IGNORECASE)
_COMMA = re.compile(r"\s*[,;]\s*(?:and\s+)?")
_LEAST_PARTS = 3
_WORDS_OF_PART = 6
"""Clauses of a sentence are longer than the items of a list."""


def items_of(listed: str, *, truncated: bool) -> list[str]:
    """The items of a list, without their marks, in order; an empty line ends it.

    ``truncated`` says that the text ended at the token limit: its last item is then a piece of one.
    """
    head, ended, _ = listed.lstrip("\r\n").replace("\r", "").partition("\n\n")
    items = [item for line in head.split("\n") for item in _parts(_bare(line))]
    return items[:-1] if truncated and not ended and not head.endswith("\n") else items


def _bare(line: str) -> str:
    """Without the mark before it."""
    mark = _MARK.match(line)
    return line[mark.end() :].strip() if mark else line.strip()


def _parts(line: str) -> list[str]:
    """A line that is itself a list of short items between commas, in its parts; any other as it is."""
    parts = [part for part in _COMMA.split(line) if part]
    if len(parts) >= _LEAST_PARTS and all(len(part.split()) <= _WORDS_OF_PART for part in parts):
        return parts
    return [line] if line else []
