"""Trying prompts before a job is made: ``POST /v1/captions``, of which nothing is kept."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from synfarm.contracts.base import Contract
from synfarm.contracts.captions import DropReason
from synfarm.contracts.jobs import CaptionSettings, Concepts

__all__ = ["TriedCaption", "TryAnswer", "TryRequest"]

_MOST = 64


class TryRequest(Contract):
    """Body of ``POST /v1/captions``. A concept may be given as a bare string."""

    concepts: Concepts = Field(min_length=1, max_length=16)
    n: int = Field(default=1, ge=1, le=16)
    """Captions for each concept."""
    seed: int = Field(default=0, ge=0, lt=1 << 63)
    caption: CaptionSettings = CaptionSettings()

    @model_validator(mode="after")
    def _small(self) -> Self:
        if len(self.concepts) * self.n > _MOST:
            asked = f"{len(self.concepts)} concepts with {self.n} captions each"
            raise ValueError(f"At most {_MOST} captions at once, not {asked}: lower n, or make a job")
        return self


class TriedCaption(Contract):
    """One try."""

    concept: str
    prompt: str
    answer: str
    """What the LLM wrote."""
    text: str | None
    """The caption, if the gate keeps it."""
    refused: DropReason | None
    llm_seed: int
    finish_reason: str
    tokens: int


class TryAnswer(Contract):
    """What ``POST /v1/captions`` answers."""

    items: tuple[TriedCaption, ...]
    llm_model: str
    llm_revision: str | None
