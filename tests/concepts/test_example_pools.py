"""The in-context examples that ship: as many as the paper has, each naming its concept and its second field."""

from __future__ import annotations

import pytest

from synfarm.contracts.concepts import Concept
from synfarm.contracts.recipes import POOLS, PoolName
from synfarm_caption_api.gate.naming import names_concept
from synfarm_caption_api.prompts.pools import RELATIONS, load_pools

SIZES: dict[PoolName, int] = {"object": 52, "place": 33, "texture": 21, "background": 50, "relation": 20}


def test_sizes_are_those_of_the_paper() -> None:
    assert {pool: len(load_pools().of(pool)) for pool in POOLS} == SIZES


def test_ids_and_captions_stand_once_and_ids_are_in_order() -> None:
    rows = load_pools().rows
    assert len({row.id for row in rows}) == len(rows) == sum(SIZES.values())
    assert len({row.caption.casefold() for row in rows}) == len(rows)
    for pool in POOLS:
        ids = [row.id for row in load_pools().of(pool)]
        assert ids == [f"c-{pool[0]}{place:02}" for place in range(1, len(ids) + 1)]


@pytest.mark.parametrize("pool", POOLS)
def test_every_caption_is_one_short_line_that_names_its_concept(pool: PoolName) -> None:
    for row in load_pools().of(pool):
        assert names_concept(row.caption, Concept(name=row.concept)), row
        assert 7 <= len(row.caption.split()) <= 25, row
        assert not row.caption.endswith("."), row


@pytest.mark.parametrize("pool", ["background", "relation"])
def test_every_second_field_stands_in_its_caption(pool: PoolName) -> None:
    for row in load_pools().of(pool):
        assert row.second is not None
        assert f" {row.second} " in f" {row.caption} ".replace(",", " "), row


def test_each_relation_word_has_two_examples() -> None:
    seconds = [row.second for row in load_pools().of("relation")]
    assert seconds == [word for word in RELATIONS for _ in range(2)]


def test_backgrounds_and_their_concepts_are_all_different() -> None:
    rows = load_pools().of("background")
    assert len({row.second for row in rows}) == len({row.concept for row in rows}) == len(rows)


def test_the_examples_do_not_all_begin_alike() -> None:
    captions = [row.caption for row in load_pools().of("background")]
    assert sum(caption.startswith(("a ", "an ")) for caption in captions) <= 0.6 * len(captions)
