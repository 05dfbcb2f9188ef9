"""Files of captions that a user uploads in parts: their lines, their parts, the commit that makes them a file."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from synfarm.contracts.base import Contract, Moment
from synfarm.contracts.concepts import ConceptKind, Phrase
from synfarm.contracts.ids import Name, Sha256
from synfarm.contracts.origins import FileName

__all__ = [
    "MOST_PARTS",
    "PART_LINES",
    "CaptionFile",
    "CaptionFileCommit",
    "CaptionFileList",
    "CaptionFileRequest",
    "CaptionPart",
    "GivenCaption",
]

PART_LINES = 10_000
"""Lines of every part but the last, so that the place of a line is known without reading."""
MOST_PARTS = 20_000


class GivenCaption(Contract):
    """One line: a caption, and what it is known to show."""

    text: Annotated[str, StringConstraints(min_length=1, max_length=2000, pattern=r"^[^\x00-\x1f\x7f]+$")]
    concept: Phrase | None = Field(default=None, exclude_if=lambda value: value is None)
    kind: ConceptKind = Field(default=ConceptKind.OBJECT, exclude_if=lambda value: value == ConceptKind.OBJECT)


class CaptionPart(Contract):
    """What ``PUT …/parts/{n}`` answers: pass the hashes of all parts, in order, to the commit."""

    part: int = Field(ge=0)
    lines: int = Field(ge=1, le=PART_LINES)
    sha256: Sha256


class CaptionFileRequest(Contract):
    """Body of ``POST …/commit``."""

    parts: tuple[Sha256, ...] = Field(min_length=1, max_length=MOST_PARTS)
    """The hash of each part, in order."""


class CaptionFileCommit(Contract):
    """``uploads/<owner hash>/<name>/commit.json``: create-only; the file exists because this object does."""

    schema_version: Literal[1] = 1
    file: FileName
    owner: Name
    parts: tuple[Sha256, ...] = Field(min_length=1, max_length=MOST_PARTS)
    last: int = Field(ge=1, le=PART_LINES)
    """Lines of the last part; every other one has ``PART_LINES``."""
    at: Moment

    @property
    def lines(self) -> int:
        return (len(self.parts) - 1) * PART_LINES + self.last


class CaptionFile(Contract):
    """``GET /v1/caption-files/{name}``."""

    file: FileName
    committed: bool
    parts: int = Field(ge=0)
    """Of a committed file; else those before the first that is missing: go on from there."""
    lines: int = Field(ge=0)


class CaptionFileList(Contract):
    """``GET /v1/caption-files``: names, sorted; at most a thousand are told."""

    items: tuple[FileName, ...]
