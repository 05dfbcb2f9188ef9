"""Which captions are read for a page: those of the concept asked for, in committed units, after a bounded search."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import pytest

from synfarm.contracts.jobs import JobSpec
from synfarm_caption_api.prompts.concept_plan import ConceptPlan
from synfarm_caption_api.samples.candidates import LOOKED_AT, Candidates, Extent, Query

Spec = Callable[..., JobSpec]


@pytest.mark.parametrize("draw", ["uniform", "balanced"])
def test_a_concept_among_thousands_is_found_by_the_plan(make_spec: Spec, draw: str) -> None:
    names = [f"thing {i}" for i in range(2000)]
    spec = make_spec(concepts=names, captions=10_000_000, concept_draw=draw, captions_per_unit=64)
    found = list(
        islice(Candidates(spec, Query(limit=9, concept=1234), Extent(150_000, frozenset()), ConceptPlan(spec)), 9)
    )
    assert len(found) == 9
    assert {ConceptPlan(spec).at(index) for index, _ in found} == {1234}
    assert max(index for index, _ in found) > 1_000_000, "not at the beginning of the job alone"


def test_the_search_ends_and_says_where_it_goes_on(make_spec: Spec) -> None:
    names = [f"thing {i}" for i in range(50_000)]
    spec = make_spec(concepts=names, captions=1_000_000_000, captions_per_unit=1024)
    first = Candidates(spec, Query(limit=9, concept=7), Extent(900_000, frozenset()), ConceptPlan(spec))
    found = [index for index, _ in first]
    assert len(found) < 9
    assert first.stopped_at is not None
    second = Candidates(
        spec, Query(limit=9, concept=7, cursor=first.stopped_at), Extent(900_000, frozenset()), ConceptPlan(spec)
    )
    assert not {index for index, _ in second} & set(found)
    assert LOOKED_AT >= 50_000, "a round of a balanced job fits"


def test_units_that_are_not_known_to_be_committed_are_passed_over(make_spec: Spec) -> None:
    spec = make_spec(captions=80, captions_per_unit=8)
    candidates = Candidates(spec, Query(limit=9), Extent(2, frozenset({5, 7})), ConceptPlan(spec))
    assert {index // 8 for index, _ in candidates} == {0, 1, 5, 7}
    assert candidates.stopped_at is None
    assert list(Candidates(spec, Query(limit=9), Extent(0, frozenset()), ConceptPlan(spec))) == []
