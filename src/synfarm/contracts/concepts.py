"""A visual concept: what it is called, what else counts as naming it, and of which kind it is."""

from __future__ import annotations

import unicodedata
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, TypeAdapter, ValidationError

from synfarm.contracts.base import Contract

__all__ = ["Concept", "ConceptKind", "Concepts", "Phrase", "is_phrase"]


class ConceptKind(StrEnum):
    """Decides the pool of in-context examples (method: objects, places, textures)."""

    OBJECT = "object"
    PLACE = "place"
    TEXTURE = "texture"


def _plain_text(value: str) -> str:
    """Concepts stand inside prompts and metric labels: no control characters, no prompt syntax, no stray spaces."""
    if any(unicodedata.category(c)[0] == "C" for c in value):
        raise ValueError("must not hold control characters or line breaks")
    if "=>" in value:
        raise ValueError("must not hold '=>', which separates the fields of a prompt")
    if value != " ".join(value.split()):
        raise ValueError("must not begin or end with a space or hold two in a row")
    return value


Phrase = Annotated[str, StringConstraints(min_length=1, max_length=80), AfterValidator(_plain_text)]
_PHRASE = TypeAdapter[str](Phrase)


def is_phrase(text: str) -> bool:
    """Whether a text may stand where a contract has a phrase."""
    try:
        _PHRASE.validate_python(text)
    except ValidationError:
        return False
    return True


class Concept(Contract):
    """One visual concept, and the other words that count as naming it."""

    name: Phrase
    synonyms: tuple[Phrase, ...] = Field(default=(), max_length=32)
    kind: ConceptKind = ConceptKind.OBJECT


def _full(values: object) -> object:
    """Bare strings as concepts."""
    return [{"name": v} if isinstance(v, str) else v for v in values] if isinstance(values, list | tuple) else values


def _distinct(concepts: tuple[Concept, ...]) -> tuple[Concept, ...]:
    seen: set[str] = set()
    for concept in concepts:
        folded = concept.name.casefold()
        if folded in seen:
            raise ValueError(f"{concept.name!r} occurs twice; leave one out")
        seen.add(folded)
    return concepts


Concepts = Annotated[tuple[Concept, ...], BeforeValidator(_full), AfterValidator(_distinct)]
"""Each name once; where they are given, a bare string stands for a concept without synonyms."""
