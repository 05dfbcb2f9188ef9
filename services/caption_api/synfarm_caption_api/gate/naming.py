"""Whether a caption names its concept: by whole words, and by an orange, not by an orange cat.

String searches, no regular expressions: a job over 13,000 concepts would compile one for nearly every caption, which
costs more than all other checks together.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from synfarm.concepts import plurals
from synfarm.contracts.concepts import Concept
from synfarm_caption_api.gate.colours import is_colour_here, may_be_colour

__all__ = ["concept_words", "names_concept", "without_concept"]


_NEUTRAL = "thing"


@dataclass(frozen=True, slots=True)
class _Forms:
    phrases: tuple[str, ...]
    """Names, synonyms and their plurals as :func:`_flat` writes them."""
    colours: frozenset[str]
    """Those of them that may be the name of a colour."""
    words: frozenset[str]
    """All words of the phrases."""


def names_concept(caption: str, concept: Concept) -> bool:
    """The concept or one of its synonyms stands in the caption as a whole word, singular or plural.

    A part of a hyphenated word does not count: 'dog-shaped' shows no dog. Nor does a colour: 'an orange cat' shows no
    orange.
    """
    forms = _forms(concept.name, concept.synonyms)
    text = " ".join(caption.casefold().split())
    flat = _flat(text)
    for phrase in forms.phrases:
        at = flat.find(phrase)
        while at >= 0:
            end = at + len(phrase)
            if _is_whole(text, at, end) and not (phrase in forms.colours and is_colour_here(flat, at, end)):
                return True
            at = flat.find(phrase, at + 1)
    return False


def without_concept(caption: str, concept: Concept) -> str:
    """The caption in lower case with 'thing' for the concept's phrases: they are the user's words, not the model's."""
    text = " ".join(caption.casefold().split())
    for phrase in _forms(concept.name, concept.synonyms).phrases:
        at = _flat(text).find(phrase)
        while at >= 0:
            text = text[:at] + _NEUTRAL + text[at + len(phrase) :]
            at = _flat(text).find(phrase, at + len(_NEUTRAL))
    return text


def concept_words(concept: Concept) -> frozenset[str]:
    """All words of the concept's name and synonyms, and of their plurals."""
    return _forms(concept.name, concept.synonyms).words


@lru_cache(maxsize=1 << 15)  # a pure function of its arguments; some hundred bytes each
def _forms(name: str, synonyms: tuple[str, ...]) -> _Forms:
    found: dict[str, None] = {}
    for phrase in (name, *synonyms):
        for form in (phrase, *plurals(phrase)):
            found[_flat(" ".join(form.casefold().split()))] = None
    return _Forms(
        phrases=tuple(found),
        colours=frozenset(filter(may_be_colour, found)),
        words=frozenset(word for phrase in found for word in phrase.split()),
    )


def _flat(text: str) -> str:
    """One sign for one sign, so that places stay what they are: fire-truck is fire truck, whichever apostrophe."""
    return text.replace("-", " ").replace("’", "'")


def _is_whole(text: str, start: int, end: int) -> bool:
    return not (start and _joins(text[start - 1])) and not (end < len(text) and _joins(text[end]))


def _joins(sign: str) -> bool:
    return sign.isalnum() or sign in "_-"
