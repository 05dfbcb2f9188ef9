"""Trying prompts before a job is made: ``POST /v1/captions``, of which nothing is kept."""

from __future__ import annotations

from typing import Self

from pydantic import Field, field_validator, model_validator

from synfarm.contracts.asking import Asking
from synfarm.contracts.base import Contract
from synfarm.contracts.captions import DropReason
from synfarm.contracts.jobs import CaptionSettings, Concepts, JobRequest
from synfarm.contracts.origins import Template, Variant

__all__ = ["TriedCaption", "TryAnswer", "TryRequest"]

_MOST = 64
_MOST_BACKGROUNDS = 16_000
"""As many as 16 concepts can have; to validate them takes some tenths of a second."""
_WHAT = ("concepts", "concept_set", "mix", "variant")


class TryRequest(Asking):
    """Body of ``POST /v1/captions``: exactly one of ``concepts``, ``concept_set``, ``mix``, ``variant``.

    A concept may be given as a bare string.
    """

    concepts: Concepts = Field(default=(), min_length=1, max_length=16, exclude_if=lambda value: not value)
    n: int = Field(default=1, ge=1, le=_MOST)
    """Captions for each of ``concepts``; of a set, mix or variant captions in all."""
    seed: int = Field(default=0, ge=0, lt=1 << 63)
    caption: CaptionSettings = CaptionSettings()

    @field_validator("backgrounds", mode="before")
    @classmethod
    def _few_backgrounds(cls, value: object) -> object:
        """Before each of them is looked at, which for a body as large as may be sent takes seconds."""
        lists = value.values() if isinstance(value, dict) else (value,)
        count = sum(len(each) for each in lists if isinstance(each, list | tuple))
        if count > _MOST_BACKGROUNDS:
            raise ValueError(
                f"a try takes at most {_MOST_BACKGROUNDS}, not {count}; leave out those of other concepts, or store"
                " them with PUT /v1/concept-sets/{name} and try that set"
            )
        return value

    @model_validator(mode="after")
    def _small(self) -> Self:
        if self.variant is Variant.CC12M:
            raise ValueError("variant cc12m are captions of your own; there is no prompt to try")
        self.check_asking([name for name in _WHAT if getattr(self, name)], _WHAT)
        if self.captions > _MOST:
            asked = f"{len(self.concepts)} concepts with {self.n} captions each"
            raise ValueError(f"At most {_MOST} captions at once, not {asked}: lower n, or make a job")
        return self

    @property
    def captions(self) -> int:
        """How many are asked for in all."""
        return self.n * max(1, len(self.concepts))

    def field_of(self, concept: str) -> str:
        """Dotted name of the field from which a concept came."""
        places = (f"concepts.{i}.name" for i, each in enumerate(self.concepts) if each.name == concept)
        return next(places, next(name for name in _WHAT if getattr(self, name)))

    def as_job(self) -> JobRequest:
        """The job whose first captions these are; each of ``concepts`` occurs ``n`` times."""
        shared = {name: getattr(self, name) for name in self.model_fields_set & JobRequest.model_fields.keys()}
        draw = "balanced" if self.concepts else "uniform"
        return JobRequest.model_validate({**shared, "captions": self.captions, "concept_draw": draw})


class TriedCaption(Contract):
    """One try."""

    concept: str
    template: Template = Template.CONCEPT
    second: str | None = None
    """Background or relation of the other templates."""
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
    notes: tuple[str, ...] = Field(default=(), exclude_if=lambda value: not value)
    """As of ``JobPlan``."""
