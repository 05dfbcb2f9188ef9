"""From an item of the model's list to a setting as the ``c,bg`` prompt takes it, or the reason why it is none.

Pure functions of texts: the same answers give the same settings on every machine.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache

from synfarm.contracts.backgrounds import SettingRefusal
from synfarm.contracts.concepts import Concept, is_phrase
from synfarm_caption_api.backgrounds.asking import with_article
from synfarm_caption_api.backgrounds.places import (
    is_known_part,
    is_known_place,
    leading_relation,
    relations_in,
)
from synfarm_caption_api.gate import names_concept
from synfarm_caption_api.gate.language import is_non_language
from synfarm_caption_api.gate.task_talk import talks_of_task
from synfarm_caption_api.gate.words import FUNCTION_WORDS, stem, words_of

__all__ = ["as_line", "normal_setting", "read_setting"]

_MOST_WORDS, _MOST_SIGNS = 8, 80
_ARTICLES = frozenset({"a", "an", "the"})
_DETERMINER = re.compile(r"(?:(?P<whose>its|his|her|their|my|your|our)|an?|the|some)\s+(?=\S)", re.IGNORECASE)
_A_THING = re.compile(r"an?\s", re.IGNORECASE)
_ENDS = " \t.,;:!?-–—…\"'“”‘’`*_()"
_ASIDE = re.compile(r"\s*\([^)]*\)?|\s+[-–—]\s.*|:\s.*|\*+|[\"“”`]")
"""'(sunny)', ' - where it plays', ': the best place', and signs of layout."""
_LABEL = re.compile(
    r"(?:photos?|pictures?|images?|backgrounds?|settings?|places?) (?:of|for|in|where)\b.*:|=>|->", re.I
)
_NO_REST = re.compile(r"(?:in|on|at|by|with|and|an?|the|\w+ing)\b", re.IGNORECASE)
"""After a comma: what the thing does there, or has."""
_DOING = re.compile(
    r"\s(?:being|chasing|drinking|eating|having|holding|looking|making|playing|running|sleeping|staring|waiting|wearing"
    r"|while)\b.*",
    re.IGNORECASE,
)
_TAIL = re.compile(r"\s+(?:(?P<with>with)|and|beside|behind|near|by|around|for|next to)\s+", re.IGNORECASE)
_SEEN = frozenset({"barking", "gazing", "looking", "pointing", "smiling", "staring"})
"""'looking at the camera' is nowhere."""
_CLAUSE = frozenset(
    {
        "am", "are", "because", "but", "can", "could", "did", "do", "does", "had", "has", "have", "he", "him", "i",
        "if", "is", "it", "me", "she", "that", "them", "they", "this", "us", "was", "we", "were", "what", "when",
        "where", "which", "who", "whose", "will", "would", "you",
    }
)  # fmt: skip
_NOWHERE = frozenset(
    {
        "action", "air", "angle", "area", "back", "background", "camera", "case", "center", "day", "display", "edge",
        "end", "fire", "foreground", "front", "good", "group", "hand", "image", "leash", "left", "line", "middle",
        "mood", "motion", "other", "own", "pair", "photo", "picture", "place", "position", "right", "row", "sale",
        "same", "scene", "set", "side", "situation", "spot", "style", "thing", "time", "top", "way", "world",
    }
)  # fmt: skip
"""Words that name no place by themselves: in the background, on the left side, on sale."""


def read_setting(item: str, concept: Concept, shown: Collection[str] = ()) -> str | SettingRefusal:
    """The setting in an item of the list, or why there is none.

    An item is '<concept> in a place' (the concept may be missing), or a phrase whose noun is known to name places.
    A relation that belongs to the setting stays: 'under a tree'.

    Args:
        shown: the settings that the prompt showed, as it showed them.
    """
    if _LABEL.search(item) is not None:
        return SettingRefusal.PROMPT_LEAK
    text = " ".join(_ASIDE.sub(" ", item).split()).strip(_ENDS)
    words = words_of(text)
    if not words:
        return SettingRefusal.NON_LANGUAGE if item.strip() else SettingRefusal.EMPTY
    if is_non_language(text, words, concept, ()):
        return SettingRefusal.NON_LANGUAGE
    if talks_of_task(text, words, concept):
        return SettingRefusal.REFUSAL
    setting = _setting_in(text, concept)
    if setting is None:
        named = is_known_place(text) and names_concept(text, concept)  # 'dog park'
        return SettingRefusal.NAMES_CONCEPT if named else SettingRefusal.NO_PLACE
    return _fault(setting, concept, shown) or setting


def as_line(setting: str, concept: Concept) -> str:
    """A setting as the model's list would have it, which :func:`read_setting` reads as the same again."""
    relation = "" if leading_relation(setting)[0] else "in "
    return f"{with_article(concept.name)} {relation}{setting}"


def normal_setting(setting: str) -> str:
    """Settings with the same words are duplicates, whatever their case, articles, numerus and 'in' or 'on'."""
    relation, rest = leading_relation(setting)
    return " ".join([relation or "", *(stem(word) for word in words_of(rest) if word not in _ARTICLES)]).strip()


def _fault(setting: str, concept: Concept, shown: Collection[str]) -> SettingRefusal | None:
    words = words_of(setting)
    if names_concept(setting, concept):
        return SettingRefusal.NAMES_CONCEPT
    if len(words) > _MOST_WORDS or len(setting) > _MOST_SIGNS:
        return SettingRefusal.TOO_LONG
    if not is_phrase(setting):
        return SettingRefusal.NON_LANGUAGE
    telling = [word for word in words if word not in FUNCTION_WORDS]
    names = any(any(map(str.isalpha, word)) and word not in _NOWHERE for word in telling)
    if not names or not _CLAUSE.isdisjoint(words) or words[-1] in FUNCTION_WORDS:
        return SettingRefusal.NO_PLACE
    if len(set(telling)) < len(telling):
        return SettingRefusal.REPEATS
    normal = normal_setting(setting)
    return SettingRefusal.PROMPT_LEAK if any(normal == _normal_shown(one) for one in shown) else None


@lru_cache(maxsize=1 << 10)  # the lists that prompts show are few
def _normal_shown(setting: str) -> str:
    return normal_setting(setting)


def _setting_in(text: str, concept: Concept) -> str | None:
    """What is left of an item without its subject and what it does there; None if it says of no place."""
    if leading_relation(text)[0] is None:
        for subject, placed in relations_in(text):
            if names_concept(subject, concept) and words_of(subject)[-1] not in _SEEN:
                text = placed
                break
        else:
            other = _A_THING.match(text) is not None and any(True for _ in relations_in(text))  # 'a cat on a sofa'
            bare = _settled(text, concept)
            return bare if is_known_place(bare) and not other and not names_concept(text, concept) else None
    setting = _settled(text, concept)
    return setting or None


def _settled(text: str, concept: Concept) -> str:
    """The setting without articles, tails and 'in', as often as there are any: each turn makes it shorter."""
    while True:
        before = text
        text = " ".join(_without_tail(text.strip(_ENDS), concept).split())
        relation, rest = leading_relation(text)
        if relation == "":
            text = rest
        elif relation is None:
            match = _DETERMINER.match(text)
            text = text[match.end() :] if match else text
        if text == before:
            return text


def _without_tail(text: str, concept: Concept) -> str:
    """Without what the thing does there, and without 'with the dog' or what no place is with."""
    text = _DOING.sub("", text)
    head, comma, rest = text.partition(", ")
    if comma:
        whole = is_known_place(leading_relation(head)[1]) or _NO_REST.match(rest) is not None
        text = head if whole else f"{head} {rest}"
    for match in _TAIL.finditer(text):
        before, tail = text[: match.start()], text[match.end() :]
        if names_concept(tail, concept) and not names_concept(before, concept):
            return before
        if match["with"] is not None and not is_known_part(tail):
            return before  # 'a park with a tail': the tail is the dog's
    return text
