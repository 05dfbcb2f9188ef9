"""The shipped concept set is well formed, and unknown words are answered with near names."""

from __future__ import annotations

import re

import pytest

from synfarm.concepts import (
    Lexicon,
    UnknownConceptSet,
    artwork_codes,
    find,
    is_plural_only,
    load,
    near,
    plurals,
    set_names,
)
from synfarm.contracts.jobs import Concept

CLEAN = re.compile(r"[a-zñ0-9]+(?:[ -][a-zñ0-9]+)*")


def test_at_least_400_concepts_whose_words_name_one_concept_each() -> None:
    concepts = load()
    assert len(concepts) >= 400
    words = [word for concept in concepts for word in (concept.name, *concept.synonyms)]
    assert len(words) == len(set(words))
    assert [word for word in words if not CLEAN.fullmatch(word)] == []


def test_no_plural_names_another_concept() -> None:
    lexicon = Lexicon(load())
    for concept in load():
        for form in (concept.name, *concept.synonyms):
            for word in (form, *plurals(form)):
                found = lexicon.find(word)
                assert found is not None
                assert found.name == concept.name, word


def test_names_are_singular() -> None:
    lexicon = Lexicon(load())
    for concept in load():
        if is_plural_only(concept.name) or concept.name == "princess":
            continue
        singular = [concept.name.removesuffix(end) for end in ("s", "es") if concept.name.endswith(end)]
        assert not any(lexicon.find(word) for word in singular), concept.name


def test_the_demo_set_is_the_beginning_of_the_collage_set() -> None:
    assert {"collage", "demo"} <= set(set_names())
    assert load("demo") == load("collage")[:48]
    assert [concept.name for concept in load("demo")[::16]] == ["dog", "bus", "carrot"]
    with pytest.raises(UnknownConceptSet, match=r"there are: .*collage, .*demo"):
        load("no-such-set")


def test_every_concept_has_artwork_of_its_own() -> None:
    codes = artwork_codes()
    assert list(codes) == [concept.name for concept in load()]
    assert all(codes.values())
    flat = [code for own in codes.values() for code in own]
    assert len(flat) == len(set(flat)), "two concepts share a picture"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Dog", "dog"),
        ("puppies", "dog"),
        ("fire  engine", "fire truck"),
        ("buses", "bus"),
        ("cacti", "cactus"),
        ("mice", "mouse"),
        ("wolves", "wolf"),
        ("loaves of bread", "bread"),
        ("GLASSES OF WINE", "wine"),
        ("sheep", "sheep"),
    ],
)
def test_found_by_name_synonym_or_plural(text: str, name: str) -> None:
    found = find(text, load())
    assert found is not None
    assert found.name == name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("elefant", "elephant"),
        ("moterbike", "motorcycle"),
        ("red panda", "panda"),
        ("school", "school building"),
        ("kettel", "teapot"),
        ("Wooly  Mamoth", "mammoth"),
    ],
)
def test_an_unknown_word_has_near_names(text: str, name: str) -> None:
    assert find(text, load()) is None
    assert name in near(text)
    assert len(near(text)) <= 3


@pytest.mark.parametrize("text", ["qqqqqq", "photosynthesis", "cerberus", "entropy", "platypus", "fire hydrant"])
def test_a_word_like_no_other_has_no_near_name(text: str) -> None:
    assert near(text) == []


def test_a_part_of_a_name_and_nothing() -> None:
    assert Lexicon([Concept(name="red panda")]).near("panda") == ["red panda"]
    assert near("") == []


def test_plurals() -> None:
    assert plurals("butterfly") == ("butterflies",)
    assert plurals("turkey") == ("turkeys",)
    assert plurals("ice cream") == ("ice creams",)
    assert plurals("goose") == ("geese",)
    assert plurals("fish") == ("fish", "fishes")
    assert plurals("fisherman") == ("fishermen",)
    assert plurals("washer woman") == ("washer women",)
    assert plurals("shaman") == ("shamans",)
    assert plurals("mongoose") == ("mongooses",)
    assert plurals("bookshelf") == ("bookshelves",)
    assert plurals("thief") == ("thieves",)
    assert plurals("quiz") == ("quizzes",)
    assert plurals("monarch") == ("monarchs",)
    assert plurals("hoof") == ("hooves", "hoofs")
    assert plurals("polar bear") == ("polar bears",)
    assert plurals("glass of milk") == ("glasses of milk",)
    assert plurals("scissors") == ("scissors",)
    assert is_plural_only("pair of scissors") is False
    assert is_plural_only("Sunglasses") is True
