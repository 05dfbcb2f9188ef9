"""The caption record: one line of a unit's JSONL, kept or empty."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Literal, Self

from pydantic import Field, model_validator

from synfarm.contracts.base import Contract
from synfarm.contracts.ids import CaptionId
from synfarm.contracts.jobs import ConceptKind, Phrase
from synfarm.contracts.origins import Layout, Template

__all__ = ["NO_CONCEPT", "CaptionRecord", "DropReason", "read_jsonl", "write_jsonl"]

NO_CONCEPT = "(none)"
"""Stands for the concept of a caption that came without one."""


class DropReason(StrEnum):
    """Why the quality gate refused a text."""

    EMPTY = "empty"
    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    CONCEPT_LOST = "concept_lost"
    REPEATS = "repeats"
    PROMPT_LEAK = "prompt_leak"
    UNFINISHED = "unfinished"
    DUPLICATE = "duplicate"
    """The same words as an earlier caption of the unit."""
    NEAR_DUPLICATE = "near_duplicate"
    """Nearly the same as an earlier caption of the unit, beyond the words that its prompt gave."""
    REFUSAL = "refusal"
    """The language model speaks of the task, or declines it."""
    NON_LANGUAGE = "non_language"
    """Wrong script, symbols, code, addresses, letters run together."""
    NOT_WRITTEN = "not_written"
    """The job that the caption was to come from has none in its place."""
    IMAGE_DAMAGED = "image_damaged"
    """Of an import: the file is no image that can be read."""


class CaptionRecord(Contract):
    """One planned caption: its text, or the reason for its empty slot, and all that is needed to ask for it again."""

    schema_version: Literal[1] = 1
    caption_id: CaptionId
    index: int = Field(ge=0)
    concept: Phrase
    kind: ConceptKind = ConceptKind.OBJECT
    template: Template = Template.CONCEPT
    second: Phrase | None = None
    """Background or relation of the other templates."""
    layout: Layout = Field(default=Layout.PLAIN, exclude_if=lambda value: value == Layout.PLAIN)
    """Of the prompt."""
    examples: tuple[str, ...] = ()
    """Ids of the in-context examples of the draw that was kept (or of the last one)."""
    text: str | None = Field(default=None, max_length=4000)
    empty_reason: DropReason | None = None
    """Set where ``text`` is not: the reason of the last refusal."""
    draws: int = Field(ge=0)
    """Generations asked for this caption; 0 if no language model was."""
    rejections: dict[DropReason, int] = Field(default_factory=dict)
    llm_seed: int = Field(ge=0)
    llm_model: str
    llm_revision: str | None = None
    finish_reason: str | None = None
    tokens: int = Field(default=0, ge=0)
    scores: dict[str, float] = Field(default_factory=dict, exclude_if=lambda value: not value)
    """Of a kept text, for the commit's row: ``near0`` … ``near2`` find near duplicates in any units; ``second`` is 1 if
    the background or relation is taken up, 0 if not."""

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.text is None) == (self.empty_reason is None):
            raise ValueError("exactly one of text and empty_reason must be set")
        return self


def write_jsonl(records: Iterable[CaptionRecord]) -> bytes:
    """The JSONL object of a unit."""
    return b"".join(record.to_bytes() + b"\n" for record in records)


def read_jsonl(data: bytes) -> list[CaptionRecord]:
    """The records of a unit's JSONL.

    Raises:
        pydantic.ValidationError: a line is not a caption record.
    """
    return [CaptionRecord.from_bytes(line) for line in data.splitlines() if line]
