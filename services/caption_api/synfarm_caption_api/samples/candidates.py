"""Which captions of a job are worth reading for a page of samples: decided from its plan alone, nothing is read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from synfarm.contracts.generations import unit_of
from synfarm.contracts.jobs import JobSpec
from synfarm_caption_api.prompts.concept_plan import ConceptPlan
from synfarm_caption_api.samples.walk import walk

__all__ = ["LOOKED_AT", "Candidates", "Extent", "Query"]

LOOKED_AT = 1 << 16
"""Captions of the plan that one page considers, some tenths of a second; a job may have fewer concepts than this."""


@dataclass(frozen=True, slots=True)
class Query:
    """What a page is asked for. ``concept``: its number in the job's plan."""

    limit: int
    cursor: int = 0
    concept: int | None = None
    per_concept: int | None = None


@dataclass(frozen=True, slots=True)
class Extent:
    """What is committed, as far as one small object and one listing tell."""

    watermark: int
    above: frozenset[int]

    @property
    def units(self) -> int:
        """No unit from this number on is known to be committed."""
        return max(self.above, default=self.watermark - 1) + 1

    def holds(self, unit: int) -> bool:
        """False if the unit is not known to be committed; below the watermark it may also be dead."""
        return unit < self.watermark or unit in self.above


class Candidates:
    """Iterates over (index, number of its concept) in the order of :mod:`synfarm_caption_api.samples.walk`.

    The number is 0 for a query that does not ask for concepts: for a balanced draw it costs a permutation.
    """

    def __init__(self, spec: JobSpec, query: Query, extent: Extent, plan: ConceptPlan) -> None:
        self._spec, self._query, self._extent = spec, query, extent
        self._plan = plan
        self._planned = query.concept is not None or query.per_concept is not None
        bound = min(spec.captions, extent.units * spec.captions_per_unit)
        self._indices = walk(bound, query.cursor, self._plan.block if self._planned else 1)
        self.stopped_at: int | None = None
        """Where the walk goes on, if it ended because enough was looked at."""

    def __iter__(self) -> Iterator[tuple[int, int]]:
        for looked_at, index in enumerate(self._indices):
            if looked_at == LOOKED_AT:
                self.stopped_at = index
                return
            if not self._extent.holds(unit_of(self._spec, index)):
                continue
            concept = self._plan.at(index) if self._planned else 0
            if self._query.concept in {None, concept}:
                yield index, concept
