"""Progress and manifest: what readers of a job follow."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Literal, Self

from pydantic import Field

from synfarm.contracts.asking import is_none
from synfarm.contracts.base import Contract, Moment
from synfarm.contracts.columns import ColumnsRef
from synfarm.contracts.commits import Commit, ShardRef
from synfarm.contracts.ids import JobId, Sha256
from synfarm.contracts.jobs import JobState

__all__ = ["Counts", "Ended", "ManifestLine", "ManifestPart", "Progress", "manifest_hash", "read_part", "write_part"]


class Counts(Contract):
    """Totals over units that are committed or dead."""

    units_committed: int = Field(default=0, ge=0)
    units_dead: int = Field(default=0, ge=0)
    captions: int = Field(default=0, ge=0)
    """Caption groups with images."""
    images: int = Field(default=0, ge=0)
    empty: int = Field(default=0, ge=0)
    bytes: int = Field(default=0, ge=0)

    def __add__(self, other: Counts) -> Counts:
        return Counts(**{name: getattr(self, name) + getattr(other, name) for name in Counts.model_fields})


class Progress(Contract):
    """``jobs/<job>/progress.json``: every unit below the watermark is committed or dead."""

    schema_version: Literal[1] = 1
    job: JobId
    watermark: int = Field(ge=0)
    counts: Counts
    """Over the units below the watermark."""
    draws: int = Field(default=0, ge=0)
    rejections: dict[str, int] = Field(default_factory=dict)
    """As in :class:`Ended`, over the units below the watermark: Redis forgets, and the captions are not read again."""
    parts: int = Field(ge=0)
    """Manifest parts already written for the current generation."""
    generation: int = Field(default=1, ge=1)
    as_of: Moment

    @property
    def is_opening(self) -> bool:
        """Written by a retry or an extension: nothing of this generation has been done yet."""
        return self.generation > 1 and self.watermark == 0 and self.parts == 0


class ManifestLine(Contract):
    """One unit in a manifest part."""

    unit: int = Field(ge=0)
    status: Literal["committed", "dead"]
    shard: ShardRef | None = None
    groups: int = Field(default=0, ge=0)
    images: int = Field(default=0, ge=0)
    empty: int = Field(default=0, ge=0)
    reason: str | None = None
    """Of a dead unit."""

    @classmethod
    def of(cls, commit: Commit) -> Self:
        """The line of a committed unit."""
        return cls(
            unit=commit.unit,
            status="committed",
            shard=commit.shard,
            groups=len(commit.groups),
            images=commit.images,
            empty=len(commit.empty),
        )

    @property
    def counts(self) -> Counts:
        """What the unit adds to its job's totals."""
        if self.status == "dead":
            return Counts(units_dead=1)
        size = self.shard.size if self.shard else 0
        return Counts(units_committed=1, captions=self.groups, images=self.images, empty=self.empty, bytes=size)


class ManifestPart(Contract):
    """A part as ``ended.json`` names it."""

    key: str
    sha256: Sha256
    units: int = Field(ge=0)
    groups: int = Field(ge=0)
    columns: ColumnsRef | None = Field(default=None, exclude_if=is_none)
    """The same units group by group; parts of older versions have none."""


class Ended(Contract):
    """``jobs/<job>/ended/<gen>.json``: the frozen result of one generation of the job."""

    schema_version: Literal[1] = 1
    job: JobId
    generation: int = Field(ge=1)
    state: JobState
    reason: str | None = None
    planned: int = Field(ge=0)
    counts: Counts
    rejections: dict[str, int] = Field(default_factory=dict)
    """Refused generations by reason, over all captions."""
    draws: int = Field(default=0, ge=0)
    """Generations asked of the LLM."""
    parts: tuple[ManifestPart, ...]
    manifest_sha256: Sha256
    ended_at: Moment


def write_part(lines: Iterable[ManifestLine]) -> bytes:
    """A manifest part as JSONL."""
    return b"".join(line.to_bytes() + b"\n" for line in lines)


def read_part(data: bytes) -> list[ManifestLine]:
    """The lines of a manifest part.

    Raises:
        pydantic.ValidationError: a line is malformed.
    """
    return [ManifestLine.from_bytes(line) for line in data.splitlines() if line]


def manifest_hash(parts: Iterable[ManifestPart]) -> str:
    """The hash that a run freezes: over the keys and hashes of the parts and their columns, in order."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{part.key} {part.sha256}\n".encode())
        if part.columns is not None:
            digest.update(f"{part.columns.key} {part.columns.sha256}\n".encode())
    return digest.hexdigest()
