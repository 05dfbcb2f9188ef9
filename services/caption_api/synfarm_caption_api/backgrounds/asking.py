"""What the LLM is asked for settings: three lists of other things, then the beginning of the concept's own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from synfarm.concepts import is_plural_only
from synfarm.contracts import randomness
from synfarm.contracts.concepts import Concept
from synfarm.contracts.purposes import Purpose

__all__ = ["STOP", "Asker", "Question", "example_lists", "with_article"]

STOP = ("\n\n",)
"""An empty line ends a list: what would follow is the list of something else."""
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Question:
    """One request; a pure function of (seed, concept, how many settings are known, round, place in the round)."""

    prompt: str
    llm_seed: int
    """In [0, 2**32): TGI takes 64 bits, other servers fewer."""
    shown: tuple[str, ...]
    """The settings of the prompt's lists."""


class Asker:
    """Writes the questions under one seed."""

    def __init__(self, seed: int, lists: Mapping[str, tuple[str, ...]] | None = None) -> None:
        """``lists``: the examples, by default those that ship."""
        self._lists = example_lists() if lists is None else lists
        self._examples_key = randomness.key_of(seed, Purpose.BACKGROUND_EXAMPLES)
        self._seed_key = randomness.key_of(seed, Purpose.BACKGROUND_LLM_SEED)

    def question(self, concept: Concept, known: int, round_: int, place: int) -> Question:
        """The request ``place`` of a round.

        ``known`` settings there were before the first round: who goes on is not told the same again. All requests of a
        round show the same lists, so that the LLM server reads them once.
        """
        names = [name for name in self._lists if name.casefold() != concept.name.casefold()]
        drawn = randomness.shuffled_sample(self._examples_key, len(names), _SHOWN, known, round_)
        shown: list[str] = []
        lists: list[str] = []
        for index in drawn:
            name = names[index]
            settings = self._lists[name]
            order = randomness.permutation(self._examples_key, len(settings), known, round_, index)
            thing = with_article(name)
            rows = [settings[i] for i in order]
            shown += rows
            lists.append("\n".join([_head(thing), *(f"- {thing} {setting}" for setting in rows)]))
        asked = with_article(concept.name)
        word = randomness.bits(self._seed_key, randomness.text_id(concept.name.casefold()), known, round_, place)
        # It ends without a space: a trailing one changes the model's next token.
        prompt = "\n\n".join([*lists, f"{_head(asked)}\n- {asked}"])
        return Question(prompt, randomness.seed32(word), tuple(shown))


@cache
def example_lists() -> Mapping[str, tuple[str, ...]]:
    """The lists that ship, each of its own thing. Their order is part of every draw: append, never reorder."""
    data = json.loads(files(__package__).joinpath("lists.json").read_text(encoding="utf-8"))
    return MappingProxyType({name: tuple(settings) for name, settings in data.items()})


def with_article(name: str) -> str:
    """'an owl', 'a dog', 'scissors': as a line begins."""
    if is_plural_only(name):
        return name
    return f"{'an' if name[:1].casefold() in {*'aeiou'} else 'a'} {name}"


def _head(thing: str) -> str:
    return f"Photos of {thing}:"
