"""Captions of one's own on their way to the farm: a file or any lines, checked and cut into the parts of an upload."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import TypeAlias

from pydantic import ValidationError

from synfarm.contracts.caption_files import PART_LINES, GivenCaption

__all__ = ["BadCaptionLine", "CaptionSource", "parts_of"]

CaptionSource: TypeAlias = "str | os.PathLike[str] | Iterable[str | GivenCaption]"
"""The path of a file, or captions one by one."""

_JSON_LINES = frozenset({".jsonl", ".ndjson"})


class BadCaptionLine(ValueError):
    """A line that is no caption, by its number in the whole file."""

    def __init__(self, number: int, fault: str) -> None:
        super().__init__(f"line {number}: {fault}")


def parts_of(source: CaptionSource, *, jsonl: bool | None = None) -> Iterator[bytes]:
    """Bodies of the parts in order, read as they are asked for: 10,000 lines each, the last may be shorter.

    Args:
        jsonl: whether lines are JSON, ``{"text": …, "concept": …}``; by default as the file's name ends, and by
            what the first line is: an object with ``text`` is no caption that anybody means as it is.

    Raises:
        BadCaptionLine: names the line; a source without any is one too.
        OSError: the file cannot be read.
    """
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        with path.open("rb") as file:
            yield from _parts(file, True if jsonl is None and path.suffix.casefold() in _JSON_LINES else jsonl)
    else:
        yield from _parts(source, jsonl)


def _parts(lines: Iterable[str | bytes | GivenCaption], told: bool | None) -> Iterator[bytes]:
    following = iter(lines)
    first = list(islice(following, 1))
    json_lines = any(map(_is_object_with_text, first)) if told is None else told
    lines = chain(first, following)
    captions = (_caption(number, line, json_lines) for number, line in enumerate(lines, 1))
    written = False
    while part := b"".join(caption.to_bytes() + b"\n" for caption in islice(captions, PART_LINES)):
        written = True
        yield part
    if not written:
        raise BadCaptionLine(1, "there is no caption; write one a line")


def _is_object_with_text(line: str | bytes | GivenCaption) -> bool:
    if isinstance(line, GivenCaption):
        return False
    try:
        text = line.decode("utf-8-sig") if isinstance(line, bytes) else line.removeprefix("\ufeff")
        found = json.loads(text) if text.lstrip().startswith("{") else None
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and "text" in found


def _caption(number: int, line: str | bytes | GivenCaption, json_lines: bool) -> GivenCaption:
    if isinstance(line, GivenCaption):
        return line
    try:
        text = line.decode("utf-8-sig" if number == 1 else "utf-8") if isinstance(line, bytes) else line
    except UnicodeDecodeError as error:
        raise BadCaptionLine(number, f"no UTF-8 text: byte {error.start} is {line[error.start]:#04x}") from error
    words = " ".join(text.split())
    if not words:
        raise BadCaptionLine(number, "is empty; leave the line out")
    try:
        return GivenCaption.from_bytes(text) if json_lines else GivenCaption(text=words)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        fault = first["msg"].removeprefix("Value error, ").replace("Input should", "must", 1)
        raise BadCaptionLine(number, f"{place} {fault}".strip()) from error
