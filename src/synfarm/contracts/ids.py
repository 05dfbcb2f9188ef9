"""Ids: what they look like, how they are parsed, and the refusal of everything else.

An id is checked at every border, because ids become object keys, Redis keys, file names and URLs.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import StringConstraints

__all__ = [
    "AttemptId",
    "CaptionId",
    "JobId",
    "Name",
    "RunId",
    "Sha256",
    "UlidStr",
    "caption_id",
    "check_idempotency_key",
    "check_ulid",
    "check_unit",
    "parse_caption_id",
]

_ULID = r"[0-7][0-9a-hjkmnp-tv-z]{25}"
_ULID_RE = re.compile(_ULID)
_CAPTION_RE = re.compile(rf"({_ULID})-([0-9]{{10}})")
_KEY_RE = re.compile(r"[\x21-\x7e]{1,255}")

MAX_INDEX = 10**10
MAX_UNIT = 10**8

UlidStr = Annotated[str, StringConstraints(pattern=rf"^{_ULID}$", min_length=26, max_length=26)]
"""26 lower-case Crockford base-32 characters of a ULID."""
JobId = UlidStr
RunId = UlidStr
AttemptId = UlidStr
"""One try of one worker at one unit, or one start of a run's service."""
CaptionId = Annotated[str, StringConstraints(pattern=rf"^{_ULID}-[0-9]{{10}}$", min_length=37, max_length=37)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$", min_length=64, max_length=64)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._ -]{0,79}$", min_length=1, max_length=80)]
"""A human's name for a job, run or owner: letters, digits, space, dot, dash, underscore."""


def check_ulid(value: str) -> str:
    """The value itself if it is a well-formed id.

    Raises:
        ValueError: it is not 26 lower-case ULID characters.
    """
    if not _ULID_RE.fullmatch(value):
        raise ValueError(f"not an id of 26 lower-case ULID characters: {value[:64]!r}")
    return value


def check_idempotency_key(value: str) -> str:
    """The value itself if it may stand in the header ``Idempotency-Key``.

    Raises:
        ValueError: it is not 1 to 255 printable ASCII characters without spaces.
    """
    if not _KEY_RE.fullmatch(value):
        raise ValueError("a key is 1 to 255 printable ASCII characters without spaces")
    return value


def check_unit(unit: int) -> int:
    """The unit number itself if it fits eight digits.

    Raises:
        ValueError: it is negative or too large.
    """
    if not 0 <= unit < MAX_UNIT:
        raise ValueError(f"unit must be in [0, {MAX_UNIT}), got {unit}")
    return unit


def caption_id(job: str, index: int) -> str:
    """``<job>-<index:010d>``; no dot, because a WebDataset key ends at the first one.

    Raises:
        ValueError: the job is no id or the index does not fit ten digits.
    """
    if not 0 <= index < MAX_INDEX:
        raise ValueError(f"caption index must be in [0, {MAX_INDEX}), got {index}")
    return f"{check_ulid(job)}-{index:010d}"


def parse_caption_id(value: str) -> tuple[str, int]:
    """Job id and caption index of a caption id.

    Raises:
        ValueError: it is not one.
    """
    match = _CAPTION_RE.fullmatch(value)
    if match is None:
        raise ValueError(f"not a caption id (<job>-<10 digits>): {value[:64]!r}")
    return match.group(1), int(match.group(2))
