"""Where the captions of a job come from, when it is not a list of concepts: named sets, mixes, files, other jobs."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from synfarm.contracts.base import Contract
from synfarm.contracts.ids import JobId, Name, Sha256

__all__ = [
    "CaptionFileRef",
    "CaptionJobRef",
    "CaptionsFrom",
    "FileName",
    "Layout",
    "Mix",
    "OwnSetName",
    "PoolFile",
    "RecipeName",
    "RecipeRef",
    "Template",
    "Variant",
]


class Template(StrEnum):
    """What a caption was made from; the first three are the paper's prompts (section 3.1, table 1)."""

    CONCEPT = "c"
    BACKGROUND = "c,bg"
    RELATION = "c,rel"
    JOINED = "c+h+place"
    """No prompt: the concept, its hypernyms and a place, joined (table 2, IN+h+Places)."""
    GIVEN = "given"
    """No prompt: a line of a user's file."""

    @property
    def is_prompt(self) -> bool:
        return self in {Template.CONCEPT, Template.BACKGROUND, Template.RELATION}


class Layout(StrEnum):
    """How a prompt is laid out: a matter of the language model, not of the job's concepts."""

    PLAIN = "plain"
    """As the paper prints it: ``concept => caption``."""
    RELEASE = "release"
    """The same with the indentation of the released script, which its prompts carry by accident."""
    SUBJECT = "subject"
    """``Subject: concept. Caption: caption``, which some small models keep to more easily."""


class Variant(StrEnum):
    """The caption sets that table 2 of the paper compares."""

    CC12M = "cc12m"
    """Real captions: a user's file, named in ``captions_from``."""
    HYPERNYMS_PLACES = "IN+h+Places"
    PLACES = "IN+Places+LLM"
    BACKGROUNDS = "IN+OurBG+LLM"
    OURS = "ours"


SetName = Annotated[str, StringConstraints(min_length=1, max_length=80)]
"""Name of a concept set; whether there is such a set is known where the sets are."""
Shares = Annotated[dict[SetName, Annotated[float, Field(gt=0, le=1)]], Field(min_length=1, max_length=64)]
Mix = Literal["paper", "release"] | Shares
"""A mix that ships, or shares of concept sets, shipped or own, that sum to 1."""
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)*$", max_length=80)]
"""Name of an uploaded file of captions: a part of an object key."""
OwnSetName = FileName
"""Name of a user's own concept set: it, too, is a part of an object key."""

RecipeName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+ -]{0,79}$", max_length=80)]


class CaptionsFrom(Contract):
    """Captions that exist already: an uploaded file, or the captions of another job."""

    file: FileName | None = None
    job: JobId | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.file is None) == (self.job is None):
            raise ValueError("name exactly one of 'file' and 'job'")
        return self


class PoolFile(Contract):
    """In-context examples of one's own, as the text of a file: columns pool, concept, second, caption."""

    format: Literal["csv", "jsonl"] = "csv"
    use: Literal["extend", "replace"] = "extend"
    """``replace``: each pool that the file has rows for consists of these rows alone; other pools stay ours."""
    text: Annotated[str, StringConstraints(min_length=1, max_length=1_000_000)]


class RecipeRef(Contract):
    """The caption machine of a job: ``recipes/<sha256>.json``, and what one likes to know without reading it."""

    sha256: Sha256
    name: RecipeName
    concepts: int = Field(ge=1)
    sources: int = Field(ge=1)


class CaptionFileRef(Contract):
    """A committed file of captions: caption ``i`` of the job is line ``i`` modulo ``lines``."""

    file: FileName
    owner: Name
    sha256: Sha256
    """Of the commit object, which names the hash of each part."""
    lines: int = Field(ge=1)


class CaptionJobRef(Contract):
    """Another job whose captions are taken: caption ``i`` is its caption ``i``; its empty slots stay empty."""

    job: JobId
    seed: int = Field(ge=0, lt=1 << 63)
    """The seed that its captions were drawn with."""
