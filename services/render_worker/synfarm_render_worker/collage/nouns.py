"""Tells the nouns of a caption from verbs and colours that are spelt like them: a duck, to duck; an orange, orange."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from synfarm_render_worker.collage.phrases import STOPS
from synfarm_render_worker.collage.words import COLOURS, SIZES

__all__ = [
    "ALSO_VERBS",
    "PHRASE_ENDS",
    "Number",
    "is_colour_here",
    "joins_adjectives",
    "phrase_start",
    "stands_as_noun",
]

Number = Literal["one", "many", "either"]
"""Grammatical number of a form; ``either`` for sheep and fish."""

ALSO_VERBS = frozenset(
    {
        "bat", "bear", "box", "comb", "crown", "dress", "drum", "duck", "fire", "fish", "flower", "fly", "hammer",
        "hook", "kite", "lock", "park", "plant", "plug", "ring", "rose", "saw", "screw", "seal", "ship", "shop",
        "shovel", "shower", "sink", "ski", "sled", "sponge", "store", "tie", "train", "watch", "whale", "worm",
        "leaves", "stars", "waves", "tracks",
    }
)  # fmt: skip
"""Words that captions also use as verbs, in the form that the caption's noun would have in the singular."""

_PAST = frozenset({"rose", "saw"})
"""Verbs already without an s: 'the sun rose'."""

PHRASE_ENDS = frozenset(
    {
        "in", "on", "at", "of", "to", "with", "and", "or", "by", "near", "under", "over", "behind", "before", "above",
        "below", "beneath", "beside", "inside", "into", "onto", "upon", "atop", "from", "for", "through", "across",
        "around", "along", "against", "between", "among", "amid", "surrounded", "is", "are", "was", "were", "has",
        "have", "that", "which", "who", "while", "as", "wearing", "holding", "carrying", "riding", "playing",
        "eating", "wears", "holds", "carries", "off", "up", "down", "toward", "towards", "past", "about", "next",
        "within", "without", "but", "than",
    }
)  # fmt: skip
"""Words that end a noun's own phrase when one reads back from it: what stands before them describes another thing."""

_ONE = frozenset({"a", "an", "one", "this", "that", "each", "every", "another", "single", "1"})
_ANY = frozenset({"the", "his", "her", "its", "their", "my", "our", "your", "some", "no", "any"})
_MANY = frozenset(
    {
        "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "many", "several", "few", "both",
        "these", "those", "all", "2", "3", "4", "5", "dozen", "other",
    }
)  # fmt: skip
_DETERMINERS = _ONE | _ANY | _MANY
_COLOURS = frozenset(word for words in COLOURS.values() for word in words)
_PLAIN = frozenset(word for words in SIZES.values() for word in words) | _COLOURS | frozenset(
    {
        "old", "new", "young", "long", "short", "round", "beautiful", "bright", "dark", "light", "wild", "wooden",
        "metal", "plastic", "glass", "stone", "fresh", "cute", "single", "fat", "thin", "wet", "hot", "cold", "nice",
        "great", "good", "soft", "sharp", "open", "closed", "broken", "empty", "full", "colorful", "colourful",
        "vintage", "antique", "modern", "toy", "lone", "ripe", "very", "real", "live", "dead", "fine", "plain",
    }
)  # fmt: skip
_ADJECTIVE_ENDS = ("y", "ful", "ous", "ish", "ive", "less", "able", "ed", "al", "ic")
_SAID_OF = frozenset({"is", "are", "was", "were", "painted", "colored", "coloured", "bright", "dark", "light", "deep"})


def phrase_start(words: Sequence[str], start: int, earliest: int, reach: int = 8) -> int:
    """Where the words begin that describe the noun at ``start``: after the preposition or stop before it."""
    place = start
    while place > max(earliest, start - reach) and not _ends_phrase(words, place - 1, start):
        place -= 1
    return place


def _ends_phrase(words: Sequence[str], place: int, noun: int) -> bool:
    if words[place] == "," and place > 0 and words[place - 1] in _PLAIN:
        # The comma of 'a small, square snowman'; with a determiner after it, something else begins.
        return bool(_DETERMINERS.intersection(words[place:noun]))
    return words[place] in STOPS or (words[place] in PHRASE_ENDS and not joins_adjectives(words, place))


def joins_adjectives(words: Sequence[str], place: int) -> bool:
    """The ``and`` of ``a black and white cat``, which ends no phrase."""
    return words[place] == "and" and 0 < place < len(words) - 1 and {words[place - 1], words[place + 1]} <= _PLAIN


def stands_as_noun(words: Sequence[str], start: int, number: Number) -> bool:
    """Whether the word at ``start``, one of ``ALSO_VERBS`` or a plural of one, is a noun there.

    By what stands before it in its phrase: 'a watch', 'two watches', 'in watches' are things; 'a man watches', 'two
    men watch', 'to watch' are deeds. A determiner must agree in number, with a verb before it is the subject that does.
    """
    before = phrase_start(words, start, 0)
    # From the last determiner on: in 'they watch the ducks' the first word is no part of what describes the ducks.
    own = words[max((i for i in range(before, start) if words[i] in _DETERMINERS), default=before) : start]
    plain = all(word in _PLAIN or word.endswith(_ADJECTIVE_ENDS) for word in own[1:])
    if not own:
        # Begins its phrase: 'ducks on a pond', 'with fish'. After 'to', 'who' or 'and' it may be done: 'sit and watch'.
        led = words[before - 1] if before else ""
        return led not in {"to", "who", "that", "which"} and not (led == "and" and number == "one")
    if own[0] in _ONE:
        # 'a mother duck', never 'a mother ducks'; 'the sun rose' and 'a boy saw' want more care.
        return number != "many" and (plain or words[start] not in _PAST)
    if own[0] in _ANY:
        return plain or (number != "many" and words[start] not in _PAST and not words[start - 1].endswith("s"))
    if own[0] in _MANY:
        return number != "one" or (plain and len(own) > 1)
    return own[0] in _PLAIN and plain


def is_colour_here(words: Sequence[str], start: int, end: int) -> bool:
    """Whether a noun that is also a colour is the colour: 'orange paint', 'lime green', 'the car is orange'.

    ``orange`` is the fruit where its phrase ends with it ('an orange on a plate') and something says that it is one.
    """
    after = words[end] if end < len(words) else ""
    if after in _COLOURS:
        return True
    if words[start:end] != ["orange"]:
        return False
    before = words[start - 1] if start else ""
    if before in _SAID_OF or before == "and" or (before == "in" and after in {"", *STOPS, "and"}):
        return True
    if after == "and" and end + 1 < len(words) and words[end + 1] in _COLOURS:
        return True
    return not (after in {"", *STOPS, *PHRASE_ENDS} or after.endswith(("ing", "ed")))
