"""Which concept each caption of a job is planned with: written once, for those who draw and those who look it up."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate

from synfarm.contracts import randomness
from synfarm.contracts.concepts import Concept
from synfarm.contracts.jobs import JobSpec
from synfarm.contracts.purposes import Purpose
from synfarm.contracts.recipes import Recipe

__all__ = ["ConceptPlan", "chances"]


def chances(weights: Iterable[float]) -> tuple[float, ...]:
    """Cumulative shares without the last, which is 1: ``bisect_right`` in them of a number in [0, 1) is the choice."""
    sums = list(accumulate(weights))
    return tuple(value / sums[-1] for value in sums[:-1])


class ConceptPlan:
    """A pure function of (the seed of the draws, index); thread-safe.

    Concepts are numbered through, source by source. A name that several sources have counts by its first number.
    """

    def __init__(self, spec: JobSpec, recipe: Recipe | None = None) -> None:
        """``recipe``: the job's, if it has one. A job of a file's captions has no concepts: all are number 0."""
        self._lists: tuple[Sequence[Concept], ...] = (
            tuple(source.concepts for source in recipe.sources) if recipe is not None else (spec.concepts,)
        )
        self._offsets = tuple(accumulate((len(concepts) for concepts in self._lists), initial=0))
        self._chances = chances(source.weight for source in recipe.sources) if recipe is not None else ()
        self._balanced = spec.concept_draw == "balanced"
        self._source_key = randomness.key_of(spec.draw_seed, Purpose.SOURCE)
        self._key = randomness.key_of(spec.draw_seed, Purpose.CONCEPT)
        self._round: tuple[int, list[int]] = (-1, [])
        self._first: dict[str, int] = {}
        for number, concept in enumerate(concept for concepts in self._lists for concept in concepts):
            self._first.setdefault(concept.name.casefold(), number)

    @property
    def block(self) -> int:
        """Captions in sequence whose concepts are drawn together: looking at them in sequence is cheap."""
        return max(self._offsets[-1], 1) if self._balanced else 1

    @property
    def names(self) -> int:
        """How many concepts there are by name."""
        return len(self._first)

    def find(self, name: str) -> int | None:
        """Number of the concept of this name; case and extra spaces do not matter."""
        return self._first.get(" ".join(name.casefold().split()))

    def concept(self, number: int) -> Concept:
        """The concept of a number."""
        source = bisect_right(self._offsets, number) - 1
        return self._lists[source][number - self._offsets[source]]

    def concepts(self) -> list[Concept]:
        """Every concept once, in order of number."""
        return [self.concept(number) for number in self._first.values()]

    def at(self, index: int) -> int:
        """Number of the caption's concept."""
        if not self._offsets[-1]:
            return 0
        source, place = self.pick(index)
        if len(self._lists) == 1:
            return place
        return self._first[self._lists[source][place].name.casefold()]

    def pick(self, index: int) -> tuple[int, int]:
        """Source of the caption, and the place of its concept there."""
        if self._balanced:
            number = self._in_round(index)
            source = bisect_right(self._offsets, number) - 1
            return source, number - self._offsets[source]
        source = 0
        if self._chances:
            source = bisect_right(self._chances, randomness.uniform(randomness.bits(self._source_key, index)))
        return source, randomness.below(randomness.bits(self._key, index), len(self._lists[source]))

    def _in_round(self, index: int) -> int:
        number, place = divmod(index, self._offsets[-1])
        # One permutation serves a whole round; the pair is replaced as a whole, so threads see no half of it.
        kept, order = self._round
        if kept != number:
            order = randomness.permutation(self._key, self._offsets[-1], number)
            self._round = (number, order)
        return order[place]
