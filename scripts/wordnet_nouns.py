"""Reads the nouns of WordNet 3.0, whose offsets are ImageNet's synset ids, from its own database files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Synset", "WordNet"]


@dataclass(frozen=True, slots=True)
class Synset:
    """One meaning: its lemmas as people write them, the usual one first, and the ids of what it is a kind of."""

    lemmas: tuple[str, ...]
    above: tuple[str, ...]


class WordNet:
    """The nouns in a folder with ``data.noun`` and ``index.noun``, as Debian's package wordnet-base has them."""

    def __init__(self, folder: Path) -> None:
        self.synsets = dict(_synsets(folder / "data.noun"))
        self._senses = dict(_senses(folder / "index.noun"))

    def sense(self, name: str) -> str:
        """The id of ``lemma.sense``, for example ``dog.1``.

        Raises:
            ValueError: there is no such noun.
        """
        lemma, _, number = name.rpartition(".")
        found = self._senses.get(lemma, ())
        if not number.isdecimal() or not 1 <= int(number) <= len(found):
            raise ValueError(f"WordNet has no noun {name!r}")
        return found[int(number) - 1]

    def nearest(self, synset: str, named: Mapping[str, int]) -> int | None:
        """What the nearest ancestor in ``named`` stands for, itself included; of equally near ones the smallest."""
        level = [synset]
        while level:
            hits = [named[one] for one in level if one in named]
            if hits:
                return min(hits)
            level = [above for one in level for above in self.synsets[one].above]
        return None

    def is_under(self, synset: str, ancestor: str) -> bool:
        """Whether ``synset`` is a kind of ``ancestor``, or is it."""
        return self.nearest(synset, {ancestor: 0}) is not None

    def chain(self, synset: str, stop: frozenset[str]) -> Iterator[str]:
        """First lemmas of what it is a kind of, from the nearest on, along first parents, up to one of ``stop``."""
        above = self.synsets[synset].above
        while above and above[0] not in stop:
            yield self.synsets[above[0]].lemmas[0]
            above = self.synsets[above[0]].above


def _synsets(path: Path) -> Iterator[tuple[str, Synset]]:
    for fields in _lines(path):
        words = int(fields[3], 16)
        pointers = 4 + 2 * words
        rows = [fields[pointers + 1 + 4 * i :][:2] for i in range(int(fields[pointers]))]
        lemmas = tuple(fields[4 + 2 * i].replace("_", " ") for i in range(words))
        yield f"n{fields[0]}", Synset(lemmas, tuple(f"n{offset}" for sign, offset in rows if sign in {"@", "@i"}))


def _senses(path: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    for fields in _lines(path):
        yield fields[0], tuple(f"n{offset}" for offset in fields[-int(fields[2]) :])


def _lines(path: Path) -> Iterator[list[str]]:
    """Fields of the lines, without the licence above them and the definitions behind them."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            if not line.startswith("  "):
                yield line.partition(" | ")[0].split()
