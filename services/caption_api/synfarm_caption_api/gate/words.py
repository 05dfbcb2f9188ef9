"""The words of a caption, and which of them say nothing of what it shows."""

from __future__ import annotations

import re
from functools import lru_cache

__all__ = ["FUNCTION_WORDS", "normal_form", "stem", "words_of"]

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")

FUNCTION_WORDS = frozenset(
    {
        "a", "about", "above", "across", "after", "against", "all", "along", "amid", "among", "an", "and", "any",
        "are", "around", "as", "at", "away", "back", "be", "beneath", "behind", "being", "below", "beside", "besides",
        "between", "beyond", "but", "by", "down", "during", "each", "every", "for", "from", "front", "full", "has",
        "have", "he", "her", "here", "him", "his", "in", "inside", "into", "is", "it", "it's", "its", "itself",
        "just", "near", "nearby", "next", "no", "nor", "not", "of", "off", "on", "one", "onto", "or", "other",
        "others", "our", "out", "outside", "over", "per", "she", "so", "some", "such", "than", "that", "the", "their",
        "them", "then", "there", "these", "they", "this", "those", "through", "to", "toward", "towards", "under",
        "underneath", "until", "up", "upon", "very", "was", "we", "were", "what", "when", "where", "which", "while",
        "who", "whose", "with", "within", "without", "you", "your",
    }
)  # fmt: skip
"""Words that frame a scene without being in it; the relation words of the method (section 1.1) are among them."""


@lru_cache(maxsize=256)  # each caption is asked for its words by several checks in a row
def words_of(text: str) -> tuple[str, ...]:
    """In lower case; what hyphens and apostrophes join is one word."""
    return tuple(_WORD.findall(text.casefold()))


def normal_form(caption: str) -> str:
    """Captions with the same words are duplicates, whatever their case and punctuation."""
    return " ".join(words_of(caption))


def stem(word: str) -> str:
    """One form for singular and plural: used to compare words, never shown."""
    return word[:-1] if len(word) > 3 and word[-1] == "s" and word[-2] not in "su" else word
