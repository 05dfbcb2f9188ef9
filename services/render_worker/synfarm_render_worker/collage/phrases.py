"""Finds listed phrases in the words of a caption, the longest first."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Generic, TypeVar

__all__ = ["STOPS", "Phrases", "tokens"]

M = TypeVar("M")
_TOKEN = re.compile(r"[^\W_]+|[.,;:!?]")
STOPS = frozenset(".,;:!?")


def tokens(text: str) -> list[str]:
    """Words in lower case and the marks that end a phrase; a hyphen parts words, and so does an apostrophe."""
    return _TOKEN.findall(text.casefold())


class Phrases(Generic[M]):
    """Meanings by phrase. Of two phrases that are the same words, the first counts."""

    def __init__(self, meanings: Iterable[tuple[str, M]]) -> None:
        self._by_words: dict[tuple[str, ...], M] = {}
        for phrase, meaning in meanings:
            self._by_words.setdefault(tuple(tokens(phrase)), meaning)
        self._longest: dict[str, int] = {}
        """Words of the longest phrase that begins with a word: most words begin none."""
        for words in self._by_words:
            self._longest[words[0]] = max(len(words), self._longest.get(words[0], 0))

    @classmethod
    def of(cls, table: Mapping[M, tuple[str, ...]]) -> Phrases[M]:
        return cls((phrase, meaning) for meaning, phrases in table.items() for phrase in phrases)

    def at(self, words: Sequence[str], place: int, end: int | None = None) -> tuple[M, int] | None:
        """(meaning, words taken), or None."""
        longest = self._longest.get(words[place], 0)
        stop = len(words) if end is None else end
        for length in range(min(longest, stop - place), 0, -1):
            key = tuple(words[place : place + length])
            if key in self._by_words:
                return self._by_words[key], length
        return None

    def within(self, words: Sequence[str], start: int, end: int) -> Iterator[tuple[M, int, int]]:
        """(meaning, first place, place after) between two places, left to right, not overlapping."""
        place = start
        while place < end:
            found = self.at(words, place, end)
            if found is None:
                place += 1
            else:
                yield found[0], place, place + found[1]
                place += found[1]
