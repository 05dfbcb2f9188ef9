"""Where a phrase says that something is, and whether it is a phrase for a place, as far as words tell."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from synfarm.concepts import load
from synfarm.concepts.backgrounds import setting_lists
from synfarm_caption_api.gate.words import stem, words_of

__all__ = ["head_noun", "is_known_part", "is_known_place", "leading_relation", "relations_in"]

_PLACE_SETS = ("places365", "sun397")
_INTO = (
    "in the middle of", "in the center of", "in the heart of", "in the front of", "at the front of", "on the front of",
    "on the side of", "inside of", "inside", "within", "in", "on", "at",
)  # fmt: skip
"""What these lead into is the setting: 'on a beach' is a beach."""
_BESIDE = (
    "in front of", "on top of", "at the edge of", "on the edge of", "at the foot of", "at the end of",
    "next to", "close to", "outside of", "outside", "beside", "near", "by", "behind", "underneath", "under", "beneath",
    "below", "over", "above", "against", "amongst", "among", "amid", "between", "along", "across", "around", "atop",
    "opposite", "through", "beyond",
)  # fmt: skip
"""These belong to the setting: 'under a tree' is no tree."""
_RELATION = re.compile(
    rf"(?<![\w'’-])(?:(?P<beside>{'|'.join(_BESIDE)})|(?P<into>{'|'.join(_INTO)}))\s+(?=\S)", re.IGNORECASE
)
_AFTER_HEAD = frozenset(
    {
        "above", "across", "after", "against", "along", "amid", "among", "around", "at", "before", "behind", "below",
        "beneath", "beside", "between", "beyond", "by", "during", "for", "from", "full", "in", "inside", "into", "near",
        "next", "of", "off", "on", "onto", "outside", "over", "through", "to", "toward", "towards", "under", "with",
        "without",
    }
)  # fmt: skip


def leading_relation(phrase: str) -> tuple[str | None, str]:
    """The relation that a phrase begins with, in lower case, and what follows it.

    None if it begins with none; '' if what follows alone is the setting.
    """
    match = _RELATION.match(phrase)
    return (None, phrase) if match is None else (_told(match), phrase[match.end() :])


def relations_in(phrase: str) -> Iterator[tuple[str, str]]:
    """What stands before each relation in a phrase, and the phrase from the relation on."""
    for match in _RELATION.finditer(phrase):
        yield phrase[: match.start()].rstrip(), phrase[match.start() :]


def _told(match: re.Match[str]) -> str:
    return (match["beside"] or "").casefold()


def head_noun(phrase: str) -> str:
    """The noun that a phrase is about, in the singular: 'floor' of 'kitchen floors beside a bowl'; '' if none."""
    before: list[str] = []
    for word in words_of(phrase):
        if word in _AFTER_HEAD:
            break
        before.append(word)
    return stem(before[-1]) if before else ""


def is_known_place(phrase: str) -> bool:
    """Whether its noun is one by which the settings and places that ship are named."""
    return head_noun(phrase) in _known_heads()


def is_known_part(phrase: str) -> bool:
    """Whether its noun stands anywhere in the settings that ship: a place may be 'with' such a thing."""
    return head_noun(phrase) in _known_words()


@cache
def _known_heads() -> frozenset[str]:
    """Some thousand nouns."""
    phrases = [*_settings(), *(concept.name for name in _PLACE_SETS for concept in load(name))]
    return frozenset(filter(None, map(head_noun, phrases)))


@cache
def _known_words() -> frozenset[str]:
    return frozenset(stem(word) for setting in _settings() for word in words_of(setting))


def _settings() -> Iterator[str]:
    return (setting for settings in setting_lists().values() for setting in settings)
