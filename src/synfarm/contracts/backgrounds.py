"""Settings that a language model writes for concepts: ``POST /v1/backgrounds``, of which the farm keeps nothing."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from synfarm.contracts.base import Contract, FieldFault
from synfarm.contracts.concepts import ConceptKind, Concepts, Phrase

__all__ = [
    "BackgroundsAnswer",
    "BackgroundsEnd",
    "BackgroundsRequest",
    "ConceptBackgrounds",
    "SettingRefusal",
]


class SettingRefusal(StrEnum):
    """Why a line of the language model's list is no setting."""

    EMPTY = "empty"
    PROMPT_LEAK = "prompt_leak"
    """It stands in the lists that the prompt showed, or is a part of the prompt."""
    NON_LANGUAGE = "non_language"
    REFUSAL = "refusal"
    """It talks of the task."""
    NO_PLACE = "no_place"
    """Not 'the concept in, on, at … a place', and no phrase for a place."""
    UNSURE = "unsure"
    """Its noun is not known to name places, and no second answer has it."""
    NAMES_CONCEPT = "names_concept"
    """A caption that takes up the setting would name the concept by it, and need not show one."""
    TOO_LONG = "too_long"
    """More than eight words."""
    REPEATS = "repeats"
    """It goes in circles: hospital hospital lobby."""
    DUPLICATE = "duplicate"
    """The same as one that there is already, but for case and articles."""


class BackgroundsEnd(StrEnum):
    """Why no more was asked for a concept."""

    FULL = "full"
    """It has as many as were wanted."""
    DRY = "dry"
    """Two rounds in a row, or all of this request, brought nothing new: the model has no more to say, or not with this
    seed."""
    ROUNDS = "rounds"
    """The rounds of this request are used up; send another with what there is now as ``known`` to go on."""


class BackgroundsRequest(Contract):
    """Body of ``POST /v1/backgrounds``. A concept may be given as a bare string."""

    concepts: Concepts = Field(min_length=1, max_length=16)
    """Objects: places and textures are not set before a background (paper, section 3.4)."""
    n: int = Field(default=100, ge=1, le=200)
    """Settings wanted for each concept, those of ``known`` among them; the same in other words counts once."""
    known: dict[Phrase, Annotated[tuple[Phrase, ...], Field(max_length=1000)]] = Field(default={}, max_length=16)
    """By concept: settings that there are already. They are not made again, and other ones are asked for."""
    seed: int = Field(default=0, ge=0, lt=1 << 63)
    temperature: float = Field(default=0.8, gt=0, le=2)
    top_p: float = Field(default=0.9, gt=0, lt=1)
    max_rounds: int = Field(default=4, ge=1, le=16)
    """Rounds in which the language model is asked, four times each, for each concept; bounds the request's time."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for i, concept in enumerate(self.concepts):
            if concept.kind is not ConceptKind.OBJECT:
                told = f"{concept.name!r} is a {concept.kind.value}: only objects have backgrounds; leave it out"
                raise FieldFault(told, "concepts", i, "kind")
        names = {concept.name.casefold() for concept in self.concepts}
        strange = [name for name in self.known if name.casefold() not in names]
        if strange:
            raise FieldFault(
                f"known names {strange[0]!r}, which is none of the concepts; leave it out", "known", strange[0]
            )
        return self

    def known_of(self, concept: str) -> tuple[Phrase, ...]:
        """The known settings of a concept, whatever the case of its name there."""
        folded = concept.casefold()
        return tuple(one for name, settings in self.known.items() if name.casefold() == folded for one in settings)


class ConceptBackgrounds(Contract):
    """What was made for one concept."""

    concept: str
    backgrounds: tuple[Phrase, ...]
    """New settings, in the order in which they were written; may be fewer than wanted, and is never padded."""
    rounds: int = Field(ge=0)
    refused: dict[SettingRefusal, int]
    """Lines of the model's lists that are no new setting, by reason."""
    ended: BackgroundsEnd


class BackgroundsAnswer(Contract):
    """What ``POST /v1/backgrounds`` answers."""

    items: tuple[ConceptBackgrounds, ...]
    """One a concept, in the request's order."""
    llm_model: str
    llm_revision: str | None
