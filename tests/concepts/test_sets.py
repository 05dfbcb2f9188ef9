"""The sets that ship hold what their data sets hold: counts, kinds, well-known members, no name twice."""

from __future__ import annotations

import pytest

from synfarm.concepts import (
    Lexicon,
    UnknownConceptSet,
    about,
    held_out_names,
    hypernyms,
    load,
    set_names,
)
from synfarm.contracts.concepts import ConceptKind

COUNTS = {
    "aircraft": 100,
    "caltech101": 100,
    "cars": 196,
    "collage": 614,
    "country211": 211,
    "demo": 48,
    "dtd": 47,
    "eurosat": 10,
    "flowers": 102,
    "food101": 101,
    "gtsrb": 43,
    "in1k": 1000,
    "in21k": 13_000,
    "kitti": 4,
    "mnist": 10,
    "pets": 37,
    "places365": 365,
    "resisc45": 45,
    "sun397": 397,
}
UNSEEN = ["country211", "eurosat", "gtsrb", "kitti", "mnist", "resisc45"]
EVERY = sorted(COUNTS)


def test_every_set_of_the_paper_is_there_and_the_unseen_ones_are_held_out() -> None:
    assert sorted(set_names() + held_out_names()) == EVERY
    assert held_out_names() == UNSEEN
    assert [name for name in EVERY if not about(name).pretraining] == UNSEEN


@pytest.mark.parametrize("name", EVERY)
def test_a_set_is_whole(name: str) -> None:
    """Pitfall 38: names that a source has twice are told apart, so IN-1k has 1000 concepts and not 998."""
    concepts, info = load(name), about(name)
    assert len(concepts) == info.concepts == COUNTS[name]
    names = {concept.name.casefold() for concept in concepts}
    assert len(names) == len(concepts)
    assert info.name == name
    assert info.title
    assert info.source
    assert {concept.kind for concept in concepts} == set(info.kinds)
    for concept in concepts:
        words = [word.casefold() for word in concept.synonyms]
        assert not names.intersection(words), f"{concept.name}: a synonym is another concept's name"
        assert len(set(words)) == len(words)
        assert "_" not in "".join((concept.name, *concept.synonyms))


@pytest.mark.parametrize(
    ("name", "kind"),
    [("dtd", "texture"), ("places365", "place"), ("sun397", "place"), ("in1k", "object"), ("cars", "object")],
)
def test_kinds_decide_the_prompt(name: str, kind: str) -> None:
    assert about(name).kinds == (ConceptKind(kind),)


@pytest.mark.parametrize(
    ("name", "place", "concept", "synonym"),
    [
        ("in1k", 0, "tench", "Tinca tinca"),
        ("in1k", 134, "crane bird", "crane"),
        ("in1k", 517, "construction crane", "crane"),
        ("in1k", 657, "missile", None),
        ("in1k", 744, "projectile", None),
        ("in1k", 836, "sunglass", None),
        ("in1k", 837, "sunglasses", "shades"),
        ("in1k", 999, "toilet paper", "toilet tissue"),
        ("aircraft", 3, "737-300", "Boeing 737"),
        ("aircraft", 27, "A330-200", "Airbus A330"),
        ("cars", 0, "AM General Hummer SUV 2000", "AM General Hummer"),
        ("cars", 23, "Audi S4 Sedan 2007", "2007 Audi S4 Sedan"),
        ("dtd", 0, "banded", None),
        ("flowers", 2, "canterbury bells", "canterbury bell"),
        ("food101", 31, "donuts", "donut"),
        ("food101", 0, "apple pie", None),
        ("pets", 0, "Abyssinian", "Abyssinian cat"),
        ("places365", 0, "airfield", None),
        ("places365", 8, "apartment building outdoor", "apartment building"),
        ("sun397", 0, "abbey", None),
        ("caltech101", 0, "face", "human face"),
    ],
)
def test_well_known_members_stand_in_their_class_order(
    name: str, place: int, concept: str, synonym: str | None
) -> None:
    found = load(name)[place]
    assert found.name == concept
    assert synonym is None or synonym in found.synonyms


def test_in21k_says_which_rule_chose_its_classes_and_holds_the_classes_of_in1k() -> None:
    note = about("in21k").note
    assert "11,821" in note
    assert "859 classes of people" in note
    words = {w.casefold() for c in load("in21k") for w in (c.name, *c.synonyms)}
    ours = [c.name for c in load("in1k") if not words & {w.casefold() for w in (c.name, *c.synonyms)}]
    assert len(ours) < 30, ours


def test_hypernyms_go_from_the_nearest_on() -> None:
    above = hypernyms("in1k")
    assert above is not None
    assert len(above) == 1000
    assert all(above)
    tench = above[0]
    assert tench[0] == "cyprinid"
    assert tench.index("fish") < tench.index("animal")
    assert not {"entity", "object", "physical entity"} & {word for chain in above for word in chain}
    assert hypernyms("cars") is None


def test_sets_are_read_once() -> None:
    assert load("in21k") is load("in21k")
    assert load() is load("collage")


def test_an_unknown_set_is_told_with_those_there_are() -> None:
    with pytest.raises(UnknownConceptSet, match="'imagenet'; there are: aircraft, caltech101, cars"):
        load("imagenet")
    with pytest.raises(UnknownConceptSet, match="there are"):
        about("nothing")
    with pytest.raises(UnknownConceptSet, match="there are"):
        hypernyms("nothing")


def test_class_names_are_found_by_other_words() -> None:
    food = Lexicon(load("food101"))
    for word in ("cupcake", "doughnut", "dumpling", "French fries", "crème brûlée"):
        assert food.find(word) is not None, word
