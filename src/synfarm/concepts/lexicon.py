"""Looks words up in a set of concepts: which concept a word names, and which come near it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from synfarm.concepts.morphology import plurals
from synfarm.contracts.jobs import Concept

__all__ = ["Lexicon"]

_FAR = 0.2
"""A word that is so much less like the text than the best one is not worth naming beside it."""
_MISSPELT = 0.75
"""From this likeness on one word may be the other misspelt; below it long words share letters by chance, so that
photosynthesis would be offered a synthesizer and cerberus a sorcerer."""
_SAME_BUT_BEGINNING = 0.85


class Lexicon:
    """The words of some concepts. Building it costs some milliseconds, a look-up in it next to nothing."""

    def __init__(self, concepts: Iterable[Concept]) -> None:
        self._forms: dict[str, Concept] = {}
        """Names and synonyms."""
        self._many: dict[str, Concept] = {}
        """Their plurals, which never take a word from another concept's name."""
        for concept in concepts:
            for form in (concept.name, *concept.synonyms):
                self._forms.setdefault(form.casefold(), concept)
                for many in plurals(form):
                    self._many.setdefault(many, concept)

    def find(self, text: str) -> Concept | None:
        """The concept that ``text`` names by its name, a synonym or a plural of either; case does not matter."""
        wanted = " ".join(text.casefold().split())
        return self._forms.get(wanted) or self._many.get(wanted)

    def near(self, text: str, *, limit: int = 3) -> list[str]:
        """Names of concepts that ``text`` may have meant, best first; may be empty. Costs milliseconds.

        First those that it names with a part of it (panda for 'red panda', school building for 'school'), then those
        that are spelt most like it.
        """
        wanted = " ".join(text.casefold().split())
        words = wanted.split()
        parts = [self.find(" ".join(words[i:])) for i in range(1, len(words))]
        whole = [concept for form, concept in self._forms.items() if " " in form and wanted in form.split()]
        close = difflib.get_close_matches(wanted, self._forms, n=4 * limit, cutoff=_MISSPELT)
        # Two words that begin otherwise share their middles by chance: entropy is no trophy.
        close = [form for form in close if form[0] == wanted[0] or _spelling(wanted, form) >= _SAME_BUT_BEGINNING]
        found = [*filter(None, parts), *(self._forms[form] for form in close), *whole]
        scores = {concept.name: _likeness(wanted, concept) for concept in found}
        best = max(scores.values(), default=0.0)
        likely = [name for name, score in scores.items() if score > best - _FAR]
        return sorted(likely, key=lambda name: -scores[name])[:limit]


def _likeness(wanted: str, concept: Concept) -> float:
    """How alike they are spelt, from 0 to 1, and more if a form holds the text's last word, its head."""
    head = wanted.split()[-1] if wanted else ""
    forms = [form.casefold() for form in (concept.name, *concept.synonyms)]
    return max(_spelling(wanted, form) + 0.3 * (head in form.split()) for form in forms)


def _spelling(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one, other).ratio()
