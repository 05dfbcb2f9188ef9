"""The mixes over the sets that ship: every source can be drawn, every prompt written, nothing held out gets in."""

from __future__ import annotations

import pytest

from synfarm.concepts import held_out_names, load, set_names
from synfarm.contracts.base import utc_now
from synfarm.contracts.concepts import ConceptKind
from synfarm.contracts.jobs import JobRequest, JobSpec
from synfarm.contracts.origins import Template
from synfarm.contracts.recipes import POOLS, Recipe
from synfarm_caption_api.prompts.draw import Drawer
from synfarm_caption_api.prompts.mixes import PAPER, RELEASE
from synfarm_caption_api.prompts.pools import RELATIONS, load_pools
from synfarm_caption_api.prompts.recipe_making import RecipeMaker
from synfarm_caption_api.prompts.shipped import ShippedLibrary


@pytest.fixture(scope="module")
def maker() -> RecipeMaker:
    return RecipeMaker(ShippedLibrary(), load_pools())


def recipe_of(maker: RecipeMaker, **wish: str) -> Recipe:
    return maker.make(JobRequest.model_validate({**wish, "captions": 1})).recipe


def test_the_pools_have_the_sizes_of_the_paper() -> None:
    pools = load_pools()
    assert {pool: len(pools.of(pool)) for pool in POOLS} == {
        "object": 52,
        "place": 33,
        "texture": 21,
        "background": 50,
        "relation": 20,
    }
    seconds = [row.second for row in pools.of("relation")]
    assert sorted(map(str, seconds)) == sorted([*RELATIONS, *RELATIONS])
    assert len({row.id for row in pools.rows}) == 176


def test_a_mix_names_only_sets_that_pre_training_may_see() -> None:
    named = {name for part in (*PAPER, *RELEASE) for name in part.sets}
    assert named <= set(set_names())
    assert not named & set(held_out_names())
    assert len(held_out_names()) == 6


@pytest.mark.parametrize(
    "wish",
    [{"mix": "paper"}, {"mix": "release"}, {"variant": "IN+Places+LLM"}, {"variant": "IN+OurBG+LLM"}],
    ids=lambda wish: next(iter(wish.values())),
)
def test_every_source_of_a_shipped_recipe_can_be_drawn_from(maker: RecipeMaker, wish: dict[str, str]) -> None:
    recipe = recipe_of(maker, **wish)
    spec = JobSpec(
        recipe=recipe.ref(), captions=4096, captions_per_unit=64, job="01k" + "0" * 23, owner="a", created_at=utc_now()
    )
    drawer = Drawer(spec, load_pools(), recipe)
    shown = drawer.one_of_each(4096)
    assert len(shown) == (5 if "mix" in wish else 1)
    for index in range(2000):
        draw = drawer.draw(index)
        assert len(draw.examples) == 3
        assert draw.prompt.endswith(" =>")
        assert (draw.second is None) == (draw.template is Template.CONCEPT)


@pytest.mark.parametrize("mix", ["paper", "release"])
def test_every_object_of_the_mixes_has_backgrounds(maker: RecipeMaker, mix: str) -> None:
    """Pitfall 37: a suffix (' car') is no part of the name by which backgrounds are looked up."""
    assert not [s.name for s in recipe_of(maker, mix=mix).sources if s.name.endswith("without backgrounds")]


def test_the_variant_with_backgrounds_has_all_classes(maker: RecipeMaker) -> None:
    assert recipe_of(maker, variant="IN+OurBG+LLM").ref().concepts == len(load("in1k")) == 1000
    joined = recipe_of(maker, variant="IN+h+Places")
    assert len(joined.sources[0].hypernyms) == 1000
    assert all(joined.sources[0].hypernyms)


def test_kinds_decide_the_template(maker: RecipeMaker) -> None:
    for source in recipe_of(maker, mix="release").sources:
        kinds = {concept.kind for concept in source.concepts}
        assert len(kinds) == 1
        assert kinds == {ConceptKind.OBJECT} or set(source.templates) == {Template.CONCEPT}
