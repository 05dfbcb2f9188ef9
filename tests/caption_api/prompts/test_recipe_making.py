"""Recipes of sets, mixes and variants: what is in them, and how a wrong wish is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest

from synfarm.contracts.concepts import Concept
from synfarm.contracts.jobs import JobRequest
from synfarm.contracts.origins import Template
from synfarm.contracts.problems import ProblemError
from synfarm.contracts.recipes import Recipe, Source
from synfarm_caption_api.prompts.library import FakeLibrary
from synfarm_caption_api.prompts.pools import Pools
from synfarm_caption_api.prompts.recipe_making import RecipeMaker, needs_recipe
from synfarm_caption_api.prompts.sources import moved_shares

HALF = {"c": 0.5, "c,bg": 0.5}


@pytest.fixture
def maker(library: FakeLibrary, pools: Pools) -> RecipeMaker:
    return RecipeMaker(library, pools)


def make(maker: RecipeMaker, **wish: Any) -> Recipe:
    request = JobRequest.model_validate({"captions": 10, **wish})
    assert needs_recipe(request)
    return maker.make(request).recipe


def shares(recipe: Recipe) -> dict[str, float]:
    total = math.fsum(source.weight for source in recipe.sources)
    return {source.name: source.weight / total for source in recipe.sources}


def part(recipe: Recipe, name: str) -> Source:
    return next(source for source in recipe.sources if source.name == name)


def test_the_paper_s_mix_has_its_shares(maker: RecipeMaker) -> None:
    found = shares(make(maker, mix="paper"))
    assert math.isclose(sum(found.values()), 1)
    by_set: dict[str, float] = {}
    for name, share in found.items():
        by_set[name.split(",")[0]] = by_set.get(name.split(",")[0], 0) + share
    table = {"in1k": 0.47, "aircraft": 0.05, "cars": 0.05, "food101": 0.05, "flowers": 0.03, "places365+sun397": 0.09}
    assert by_set == pytest.approx({**table, "in21k+caltech101+pets+dtd": 0.26})


def test_the_release_s_mix_has_its_absolute_probabilities_and_suffixes(maker: RecipeMaker) -> None:
    recipe = make(maker, mix="release")
    found = shares(recipe)
    others = sum(share for name, share in found.items() if name.startswith("in21k+"))
    table = {"food101": 0.0455, "cars": 0.0546, "aircraft": 0.0546, "flowers": 0.0273, "in1k": 0.4586, "others": 0.2694}
    told = {"food101, without backgrounds": "food101", "aircraft, without backgrounds": "aircraft"}
    told["flowers, without backgrounds"] = "flowers"
    named = {told.get(name, name): share for name, share in found.items() if not name.startswith("in21k+")}
    assert {**named, "others": others} == pytest.approx(
        {**table, "places365+sun397, places": 0.0880, "dtd, textures": 0.0020}, abs=5e-5
    )
    car = part(recipe, "cars").concepts[0]
    assert (car.name, car.synonyms) == ("wagon 0 car", ("wagon 0",))
    places = [concept.name for concept in part(recipe, "places365+sun397, places").concepts]
    assert places.count("bar") == 1
    assert "bar indoor" not in places
    assert part(make(maker, mix="paper"), "cars").concepts[0].name == "wagon 0"


def test_a_union_names_each_concept_once_and_stays_uniform(maker: RecipeMaker) -> None:
    recipe = make(maker, mix="paper")
    others = [source for source in recipe.sources if source.name.startswith("in21k+")]
    names = [concept.name for source in others for concept in source.concepts]
    assert len(names) == len(set(names)) == 80 + 10 + 6 + 6 + 7 - 1
    assert len({round(source.weight / len(source.concepts), 12) for source in others}) == 1


def test_places_and_textures_use_the_plain_template_and_so_does_what_has_no_background(maker: RecipeMaker) -> None:
    recipe = make(maker, mix="paper")
    for source in recipe.sources:
        if source.name.endswith((", places", ", textures")):
            assert set(source.templates) == {Template.CONCEPT}
        elif source.name.endswith("without backgrounds"):
            assert source.templates == pytest.approx({Template.CONCEPT: 0.89, Template.RELATION: 0.11})
        else:
            assert source.templates == pytest.approx({"c": 0.44, "c,rel": 0.11, "c,bg": 0.45})


def test_backgrounds_are_stripped_in_lower_case_for_in1k_alone_and_stored_once(maker: RecipeMaker) -> None:
    recipe = make(maker, mix="paper")
    thing = part(recipe, "in1k")
    assert len(thing.backgrounds) == 5
    assert thing.backgrounds[thing.background_of[7]] == ("setting 2", "valley 2")
    assert part(recipe, "cars").backgrounds == (("a wide road", "a Car park"),)


def test_own_shares_and_templates(maker: RecipeMaker) -> None:
    recipe = make(maker, mix={"cars": 0.25, "dtd": 0.75}, templates=HALF)
    assert shares(recipe) == pytest.approx({"cars": 0.25, "dtd, textures": 0.75})
    assert part(recipe, "cars").templates == HALF
    assert recipe.relations == ()


def test_own_concepts_with_backgrounds_and_templates(maker: RecipeMaker) -> None:
    shared = make(maker, concepts=["dog", "cat"], backgrounds=["a park"], templates=HALF)
    assert part(shared, "own concepts").backgrounds == (("a park",),)
    each = make(maker, concepts=["Dog", "cat"], backgrounds={"dog": ["a park"]})
    assert [c.name for c in part(each, "own concepts").concepts] == ["Dog"]
    assert [c.name for c in part(each, "own concepts, without backgrounds").concepts] == ["cat"]
    assert moved_shares(each.sources) == ("1 of 2 concepts without backgrounds: there c takes the share of c,bg.",)
    assert moved_shares(shared.sources) == ()
    swapped = make(maker, concept_set="cars", backgrounds=["a moon"])
    assert part(swapped, "cars").backgrounds == (("a moon",),)


def test_own_examples_go_with_the_recipe(maker: RecipeMaker) -> None:
    text = "pool,concept,second,caption\n" + "\n".join(f"object,o {n},,an o {n} on a table" for n in range(4))
    recipe = make(maker, concepts=["dog"], examples={"text": text, "use": "replace"})
    assert [row.id for row in recipe.pools if row.pool == "object"] == ["own-1", "own-2", "own-3", "own-4"]
    assert set(recipe.sources[0].templates) == {Template.CONCEPT}


def test_the_variants_of_table_2(maker: RecipeMaker, library: FakeLibrary) -> None:
    places = tuple(concept.name for concept in library.concepts("places365"))
    (placed,) = make(maker, variant="IN+Places+LLM").sources
    assert (placed.templates, placed.backgrounds) == ({Template.BACKGROUND: 1.0}, (places,))
    (ours,) = make(maker, variant="IN+OurBG+LLM").sources
    assert (ours.templates, len(ours.concepts), len(ours.backgrounds)) == ({Template.BACKGROUND: 1.0}, 50, 5)
    joined = make(maker, variant="IN+h+Places")
    assert not joined.asks
    assert joined.sources[0].hypernyms[8] == ("kind 1", "entity")
    assert joined.pools == ()
    assert make(maker, variant="ours").sources == make(maker, mix="paper").sources


@pytest.mark.parametrize(
    ("wish", "code", "field", "told"),
    [
        ({"concept_set": "food"}, "unknown_concept_set", "concept_set", "food101"),
        ({"concept_set": "zzz"}, "unknown_concept_set", "concept_set", "The sets are: aircraft"),
        ({"mix": {"car": 1.0}}, "unknown_concept_set", "mix.car", "cars"),
        ({"concept_set": "eurosat"}, "concept_set_held_out", "concept_set", "aircraft"),
        ({"concept_set": "food101", "templates": {"c,bg": 1}}, "backgrounds_missing", "templates", "backgrounds"),
        ({"mix": {"food101": 1}, "templates": {"c,bg": 1}}, "backgrounds_missing", "mix.food101", "backgrounds"),
        ({"concepts": ["dog"], "backgrounds": {"dgo": ["a park"]}}, "unknown_concept", "backgrounds.dgo", "dog"),
        ({"concepts": ["dog"], "examples": {"text": "x"}}, "bad_pool_file", "examples.text", "pool"),
    ],
)
def test_what_cannot_be_made_is_refused_with_field_and_cure(
    maker: RecipeMaker, wish: dict[str, Any], code: str, field: str, told: str
) -> None:
    with pytest.raises(ProblemError) as raised:
        make(maker, **wish)
    problem = raised.value.problem
    assert (problem.status, problem.code, problem.field) == (422, code, field)
    assert told in f"{problem.detail} {problem.hint}"


def test_shipped_recipes_are_made_once_and_own_ones_are_not_kept(maker: RecipeMaker) -> None:
    paper = JobRequest.model_validate({"mix": "paper", "captions": 10})
    assert maker.make(paper) is maker.make(paper.model_copy(update={"captions": 99, "seed": 5}))
    own = JobRequest.model_validate({"concepts": ["dog"], "templates": {"c": 1}, "captions": 10})
    assert maker.make(own) is not maker.make(own)
    assert maker.make(own).ref == maker.make(own).ref


def test_a_set_that_does_not_ship_is_never_kept_under_its_name(maker: RecipeMaker, library: FakeLibrary) -> None:
    def of(*names: str) -> FakeLibrary:
        return FakeLibrary({**library.sets, "mine": tuple(Concept(name=name) for name in names)})

    mine = JobRequest.model_validate({"concept_set": "mine", "captions": 10})
    found = [maker.make(mine, owner_s).recipe for owner_s in (of("dog"), of("owl", "cat"), of("dog"))]
    assert [len(recipe.sources[0].concepts) for recipe in found] == [1, 2, 1]
    assert found[0] == found[2]
    cars = JobRequest.model_validate({"concept_set": "cars", "captions": 10})
    assert maker.make(cars, of("dog")) is maker.make(cars, of("owl")) is maker.make(cars)


def test_a_plain_list_needs_no_recipe() -> None:
    assert not needs_recipe(JobRequest.model_validate({"concepts": ["dog"], "captions": 1}))
    cc12m = {"variant": "cc12m", "captions_from": {"file": "cc12m"}, "captions": 1}
    assert not needs_recipe(JobRequest.model_validate(cc12m))
