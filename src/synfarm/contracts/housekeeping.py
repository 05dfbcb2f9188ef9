"""What `synfarm verify`, `gc` and `export` say: findings, what was removed, the index of an exported dataset."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from synfarm.contracts.base import Contract, Moment
from synfarm.contracts.ids import JobId, Sha256
from synfarm.contracts.manifests import Counts

__all__ = ["Collected", "ExportIndex", "ExportedTar", "Fault", "Finding", "Removal", "Verification"]


class Fault(StrEnum):
    """What kind of thing is wrong, in a word for programs."""

    COMMIT_MISSING = "commit_missing"
    """The manifest has the unit, and its commit is gone."""
    COMMIT_UNREADABLE = "commit_unreadable"
    COMMIT_FOREIGN = "commit_foreign"
    """It names another job, unit or tar than its place says."""
    COMMIT_OFF_PLAN = "commit_off_plan"
    """Its captions are not those that the job planned for the unit."""
    COMMIT_LATE = "commit_late"
    """The unit was committed after the manifest was written."""
    CAPTION_TWICE = "caption_twice"
    UNIT_MISSING = "unit_missing"
    """Neither committed nor dead, where it must be one of them."""
    CAPTIONS_MISSING = "captions_missing"
    CAPTIONS_CHANGED = "captions_changed"
    CAPTIONS_DISAGREE = "captions_disagree"
    """They have their hash, and are not what the commit says."""
    SHARD_MISSING = "shard_missing"
    SHARD_CHANGED = "shard_changed"
    """Other bytes than were committed."""
    SHARD_DISAGREES = "shard_disagrees"
    """It has its hash, and is not what the commit's rows say."""
    IMAGE_BROKEN = "image_broken"
    META_WRONG = "meta_wrong"
    """A sample's JSON cannot be read, or disagrees with its row or its caption."""
    MANIFEST_MISSING = "manifest_missing"
    MANIFEST_CHANGED = "manifest_changed"
    MANIFEST_DISAGREES = "manifest_disagrees"
    """A line of it is not what the commit says."""
    ENDED_WRONG = "ended_wrong"
    """The end record cannot be read, or its hashes or totals are not those of what is there."""
    LETTER_UNREADABLE = "letter_unreadable"
    OBJECT_FOREIGN = "object_foreign"
    """A key that no synfarm writes."""
    OBJECT_UNREADABLE = "object_unreadable"
    """The store answers, and cannot give this object."""


class Finding(Contract):
    """One thing that is wrong with a job."""

    fault: Fault
    unit: int | None = None
    """None: it concerns the job as a whole."""
    key: str
    what: str
    todo: str


class Verification(Contract):
    """What `synfarm verify --json` prints."""

    schema_version: Literal[1] = 1
    job: JobId
    generation: int = Field(ge=1)
    state: str
    """That of its end record; ``running`` while it has none for this generation."""
    planned: int = Field(ge=0)
    """Captions."""
    counts: Counts
    """Of what is there: units that were not checked count as the manifest has them, or, without it, not at all."""
    units_checked: int = Field(ge=0)
    images_checked: int = Field(ge=0)
    bytes_read: int = Field(ge=0)
    share: float = Field(gt=0, le=1)
    findings: tuple[Finding, ...]
    """In order of units, those of the job first; at most some thousands of them."""
    findings_total: int = Field(ge=0)

    @property
    def clean(self) -> bool:
        return not self.findings_total


class Removal(Contract):
    """One object that `synfarm gc` removes, or would."""

    key: str
    size: int = Field(ge=0)
    why: str


class Collected(Contract):
    """What `synfarm gc --json` prints."""

    schema_version: Literal[1] = 1
    deleted: bool
    """False: nothing was deleted, this is what would be."""
    older_than_seconds: float = Field(ge=0)
    as_of: Moment
    """By the store's clock."""
    jobs: int = Field(ge=0)
    """Jobs looked at."""
    objects: int = Field(ge=0)
    bytes: int = Field(ge=0)
    removals: tuple[Removal, ...]
    """The first some thousands of them."""
    notes: tuple[str, ...] = ()
    """What was left alone, and why somebody should look at it."""


class ExportedTar(Contract):
    """One tar of an export."""

    name: Annotated[str, StringConstraints(pattern=r"^[0-9a-z]{26}-[0-9]{6}\.tar$")]
    sha256: Sha256
    size: int = Field(ge=0)
    units: tuple[int, ...] = Field(min_length=1)
    """Of the job, in the order in which the tar holds them."""
    captions: int = Field(ge=0)
    images: int = Field(ge=0)


class ExportIndex(Contract):
    """``index.json`` of an exported dataset: written last, so that the export is whole when it is there."""

    schema_version: Literal[1] = 1
    job: JobId
    name: str
    generation: int | None = Field(ge=1)
    """Of the job; None for a part of a job that still runs."""
    manifest_sha256: Sha256 | None
    partial: bool
    urls: str
    """The names of all tars as WebDataset tools expand them: ``<job>-{000000..000263}.tar``; empty if there is none."""
    shard_bytes: int | None
    """About so many bytes a tar; None: a tar for each unit."""
    captions: int = Field(ge=0)
    images: int = Field(ge=0)
    images_per_caption: int = Field(ge=1)
    image_size: int = Field(ge=1)
    image_format: str
    bytes: int = Field(ge=0)
    tars: tuple[ExportedTar, ...]
