"""Concepts before any job: the sets that ship, lists of one's own, and looking words up in them."""

from __future__ import annotations

from collections.abc import Iterable

from synfarm.concepts.lexicon import Lexicon
from synfarm.concepts.listing import BadConceptList, parse_concept_list
from synfarm.concepts.morphology import is_plural_only, plurals
from synfarm.concepts.sets import (
    SetInfo,
    UnknownConceptSet,
    about,
    held_out_names,
    hypernyms,
    load,
    set_names,
)
from synfarm.concepts.vocabulary import artwork_codes
from synfarm.contracts.concepts import Concept

__all__ = [
    "BadConceptList",
    "Lexicon",
    "SetInfo",
    "UnknownConceptSet",
    "about",
    "artwork_codes",
    "find",
    "held_out_names",
    "hypernyms",
    "is_plural_only",
    "load",
    "near",
    "parse_concept_list",
    "plurals",
    "set_names",
]


def find(text: str, concepts: Iterable[Concept]) -> Concept | None:
    """As :meth:`Lexicon.find`, for a single look-up."""
    return Lexicon(concepts).find(text)


def near(text: str, concepts: Iterable[Concept] | None = None, *, limit: int = 3) -> list[str]:
    """As :meth:`Lexicon.near`, for a single look-up; in all that the collage renderer can draw by default."""
    return Lexicon(load() if concepts is None else concepts).near(text, limit=limit)
