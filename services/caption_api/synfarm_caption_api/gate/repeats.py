"""Texts in which the model went in circles."""

from __future__ import annotations

from collections.abc import Sequence
from operator import eq

__all__ = ["repeats"]

_COMMON = frozenset(
    {
        "with", "from", "into", "over", "under", "above", "below", "behind", "beside", "front", "next", "near", "that",
        "this",
    }
)  # fmt: skip


def repeats(words: Sequence[str]) -> bool:
    """A word twice in a row, three words in order twice, 'a cockpit and a cockpit', or a telling word thrice.

    'next to a house next to a tree' repeats no telling word and is kept.
    """
    if any(map(eq, words, words[1:])):
        return True
    telling = [word for word in words if len(word) > 3 and word not in _COMMON]
    marks = set(telling)
    if len(marks) < len(telling):  # else nothing that tells stands twice
        if any(telling.count(word) > 2 for word in marks):
            return True
        trigrams = [t for t in zip(words, words[1:], words[2:], strict=False) if not marks.isdisjoint(t)]
        if len(trigrams) != len(set(trigrams)):
            return True
    return "and" in words and any(
        word == "and" and i and len(words[i - 1]) > 2 and words[i - 1] in words[i + 1 : i + 3]
        for i, word in enumerate(words)
    )
