"""The concept sets of one owner: those that ship, and the owner's own beside them."""

from __future__ import annotations

from collections.abc import Sequence

from synfarm.contracts.concept_sets import ConceptSetRequest
from synfarm.contracts.concepts import Concept
from synfarm_caption_api.concept_check import with_synonyms
from synfarm_caption_api.concept_sets import ConceptSets
from synfarm_caption_api.prompts.backgrounds import backgrounds_by_name
from synfarm_caption_api.prompts.library import Library, Settings

__all__ = ["OwnLibrary"]


class OwnLibrary:
    """Implements :class:`synfarm_caption_api.prompts.library.Library` for one request.

    Not thread-safe. An own set is read once: all answers of one request are of one version of it, whatever is stored
    meanwhile. What ships keeps its name, also where a later version ships a name that an owner has used before.
    """

    def __init__(self, shipped: Library, sets: ConceptSets, owner: str, *, vocabulary: Sequence[Concept] = ()) -> None:
        """
        Args:
            vocabulary: concepts whose synonyms own ones of the same name get that have none, as in a list of a job.
        """
        self._shipped, self._sets, self._owner, self._vocabulary = shipped, sets, owner, vocabulary
        self._read: dict[str, ConceptSetRequest | None] = {}

    def names(self) -> Sequence[str]:
        shipped = self._shipped.names()
        return [*shipped, *(name for name in self._sets.names(self._owner) if name not in shipped)]

    def held_out(self) -> Sequence[str]:
        return self._shipped.held_out()

    def has(self, name: str) -> bool:
        if self._shipped.has(name):
            return True
        return name not in self.held_out() and self._own(name) is not None

    def concepts(self, name: str) -> tuple[Concept, ...]:
        own = self._own(name)
        return with_synonyms(own.concepts, self._vocabulary) if own is not None else self._shipped.concepts(name)

    def settings(self, name: str) -> Settings | None:
        own = self._own(name)
        if own is None:
            return self._shipped.settings(name)
        if own.backgrounds is None:
            return None
        names = [concept.name for concept in own.concepts]
        by_name = backgrounds_by_name(own.backgrounds, names, "set")
        places = {key: place for place, key in enumerate(by_name)}
        everywhere = places.get("", -1)
        of = tuple(places.get(name.casefold(), everywhere) for name in names)
        return Settings(tuple(by_name.values()), of)

    def hypernyms(self, name: str) -> tuple[tuple[str, ...], ...] | None:
        return None if self._own(name) is not None else self._shipped.hypernyms(name)

    def _own(self, name: str) -> ConceptSetRequest | None:
        if self._shipped.has(name):
            return None
        if name not in self._read:
            self._read[name] = self._sets.get(self._owner, name)
        return self._read[name]
