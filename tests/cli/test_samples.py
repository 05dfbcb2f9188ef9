"""`synfarm samples` over many pages: what one answer of the server cannot know, the command keeps."""

from __future__ import annotations

from collections import Counter
from itertools import cycle, islice
from types import SimpleNamespace
from typing import Any

import pytest

from synfarm.cli.samples import _groups, _spread


class Pages:
    """A job without end: every page holds each concept as often as was asked for, and there is always another one."""

    def __init__(self, *concepts: str) -> None:
        self.jobs, self.asked = self, 0
        self._concepts = concepts

    def samples(self, job: str, *, concept: Any, per_concept: int | None, cursor: int | None, limit: int) -> Any:
        self.asked += 1
        found = islice(cycle(self._concepts), min(limit, (per_concept or limit) * len(self._concepts)))
        items = [SimpleNamespace(concept=name) for name in found]
        return SimpleNamespace(items=items, damaged=[], next_cursor=self.asked)


@pytest.mark.parametrize("per_concept", [1, 3])
def test_so_many_of_each_concept_whatever_the_number_of_pages(per_concept: int) -> None:
    pages: Any = Pages("dog", "owl")
    found, _ = _groups(pages, "job", None, per_concept, 500)
    assert Counter(group.concept for group in found) == {"dog": per_concept, "owl": per_concept}
    assert pages.asked == 2, "the second page brought nothing new"


def test_without_a_bound_pages_are_read_until_there_are_enough() -> None:
    pages: Any = Pages("dog", "owl")
    assert len(_groups(pages, "job", None, None, 250)[0]) == 250
    assert pages.asked == 3


class Finite(Pages):
    """A job whose captions come concept after concept; one answer holds all that is left."""

    def __init__(self, **captions: int) -> None:
        super().__init__(*captions)
        names = [name for name, number in captions.items() for _ in range(number)]
        self._all = [SimpleNamespace(concept=name, caption_id=f"{i:03d}") for i, name in enumerate(names)]

    def spec(self, job: str) -> Any:
        return SimpleNamespace(concept_count=len(self._concepts))

    def samples(self, job: str, *, concept: Any, per_concept: int | None, cursor: int | None, limit: int) -> Any:
        taken: Counter[str] = Counter()
        items = []
        for group in self._all:
            taken[group.concept] += 1
            if taken[group.concept] <= (per_concept or limit):
                items.append(group)
        return SimpleNamespace(items=items[:limit], damaged=[], next_cursor=None)


@pytest.mark.parametrize(
    ("captions", "wanted", "shown"),
    [
        ({"dog": 50, "owl": 50, "fox": 50}, 12, {"dog": 4, "owl": 4, "fox": 4}),
        ({"dog": 50, "owl": 50, "fox": 50}, 10, {"dog": 4, "owl": 3, "fox": 3}),
        ({"dog": 50, "owl": 50, "fox": 50}, 2, {"dog": 1, "owl": 1}),
        ({"dog": 50, "owl": 1, "fox": 50}, 9, {"dog": 5, "owl": 1, "fox": 3}),
        ({"dog": 2, "owl": 1}, 9, {"dog": 2, "owl": 1}),
    ],
)
def test_unless_told_otherwise_captions_are_spread_over_the_concepts(
    captions: dict[str, int], wanted: int, shown: dict[str, int]
) -> None:
    job: Any = Finite(**captions)
    found, damaged = _spread(job, "job", wanted)
    assert Counter(group.concept for group in found) == shown
    assert damaged == []
    assert len({group.caption_id for group in found}) == len(found)
