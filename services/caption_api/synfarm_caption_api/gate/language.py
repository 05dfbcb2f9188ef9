"""Texts that are no sentence of any language: signs, code, addresses, a foreign script, letters run together.

No library guesses the language. On captions of some eight words such a guess refuses good ones (py3langid: 2 of 123
that a person would keep), costs more than the whole gate (some 100 µs), and would tie the farm to English, while a
concept list and example pool in another language work as they are.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache

from synfarm.contracts.concepts import Concept
from synfarm_caption_api.gate.naming import without_concept

__all__ = ["is_non_language"]

_LEAST_LETTERS = 0.6
"""Share of letters and digits among the signs that are no spaces."""
_LONGEST = 100
"""Letters of a word with all that hyphens join to it."""
_ODD_WORD = re.compile(
    r"[^\W\d_]{25}"  # run together
    r"|([^\W\d_])\1{3}"  # aaaah
    r"|(?:^|[^a-z])[b-df-hj-np-tv-xz]{6}"  # no vowel, no syllable
    r"|\d{12}"
)
_UNUSUAL = re.compile(r"[^\w\s,'’-]|_|[,'’-]{2}|,\S")
"""What has none of these needs no look at its signs; most captions have not."""
_ODD_SIGNS = re.compile(
    r"[{}\[\]<>|\\^~`_=*]|[@#]\w"  # code, markup, handles
    r"|https?:|www\.|\w\.(?:com|org|net|edu|gov|html?|jpe?g|png|gif|svg|pdf|php|js|py)\b|&\w{2,6};|//|\w\((?:\)|\w{2})"
    r"|([^\w\s.])\1{2}|\.{4}"
    r"|(?:[^\W\d_]{2,}[.,;:]){2}[^\W\d_]{2}",  # a.red.dog
    re.IGNORECASE,
)
_SPELLED = re.compile(r"(?:\b\w\b[\s.,-]+){4}")
_CAMEL = re.compile(r"[a-z][A-Z][a-z]+[A-Z][a-z]")
_HARMLESS_SIGNS = frozenset("°©®™£€¥¢$%&+§·–—…‘’“”«»„‚¿¡½¼¾²³×")


def is_non_language(caption: str, words: Sequence[str], concept: Concept, examples: Iterable[str]) -> bool:
    """Whether the caption is no text that a renderer could follow. ``words`` are its words, one at least.

    What stands in the concept's own names counts for nothing: a user may ask for 'c++ (logo)'.
    """
    lengths = list(map(len, words))
    if sum(lengths) < _LEAST_LETTERS * (len(caption) - caption.count(" ")) or max(lengths) > _LONGEST:
        return True
    if 2 * sum(map(str.isdigit, words)) > len(words):
        return True
    if _looks_odd(caption, words, lengths):
        rest = without_concept(caption, concept)
        if _ODD_SIGNS.search(rest) or _ODD_WORD.search(rest) or _SPELLED.search(rest):
            return True
    if _CAMEL.search(caption) is not None and not any(_CAMEL.search(n) for n in (concept.name, *concept.synonyms)):
        return True
    return not caption.isascii() and _is_foreign(caption, concept, examples)


def _looks_odd(caption: str, words: Sequence[str], lengths: Sequence[int]) -> bool:
    """A first look that is cheap: words are few and come again, so what was said of one is kept."""
    if any(map(_is_odd, words)) or b"\1\1\1\1" in bytes(lengths):
        return True
    return _UNUSUAL.search(caption) is not None and _ODD_SIGNS.search(caption) is not None


@lru_cache(maxsize=1 << 16)
def _is_odd(word: str) -> bool:
    return _ODD_WORD.search(word) is not None


def _is_foreign(caption: str, concept: Concept, examples: Iterable[str]) -> bool:
    """Two letters of a script that neither the concept nor the examples are written in, or any stray sign.

    Latin is never foreign: names and signs are written in it everywhere.
    """
    known = {"LATIN", *map(_script, "".join((concept.name, *concept.synonyms, *examples)))}
    foreign = 0
    for sign in caption:
        if sign.isascii() or sign in _HARMLESS_SIGNS:
            continue
        category = unicodedata.category(sign)
        if category[0] == "L":
            foreign += _script(sign) not in known
        elif category[0] == "C" or category in {"So", "Sk", "Sm"}:
            return True
    return foreign > 1


@lru_cache(maxsize=1 << 12)
def _script(sign: str) -> str:
    """LATIN, CYRILLIC, CJK …: the first word of the sign's name."""
    return unicodedata.name(sign, "").partition(" ")[0].partition("-")[0]
