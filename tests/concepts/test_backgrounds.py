"""Settings that ship: one list for each fine-grained set, one for every group of ImageNet's classes, and they fit."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter

from synfarm.concepts import UnknownConceptSet, load, set_names
from synfarm.concepts.backgrounds import setting_lists, shipped
from synfarm.contracts.concepts import Phrase

FINE_GRAINED = {"aircraft": "aircraft", "cars": "cars", "food101": "food", "flowers": "flowers", "pets": "pets"}


def test_lists_are_long_valid_and_name_no_setting_twice() -> None:
    phrase: TypeAdapter[str] = TypeAdapter(Phrase)
    assert len(setting_lists()) >= 40
    for name, settings in setting_lists().items():
        assert len(settings) >= 40, name
        assert len({setting.casefold() for setting in settings}) == len(settings), name
        for setting in settings:
            assert phrase.validate_python(setting) == setting
            assert 1 <= len(setting.split()) <= 7, setting


@pytest.mark.parametrize(("name", "group"), sorted(FINE_GRAINED.items()))
def test_a_fine_grained_set_shares_one_list_of_about_100(name: str, group: str) -> None:
    found = shipped(name)
    assert found.names == (group,)
    assert found.of == (0,) * len(load(name))
    assert 95 <= len(found.groups[0]) <= 110
    assert 95 <= len(setting_lists()["birds"]) <= 110


@pytest.mark.parametrize("name", ["in1k", "in21k", "caltech101"])
def test_every_object_has_a_list(name: str) -> None:
    found = shipped(name)
    assert len(found.of) == len(load(name))
    assert set(found.of) == set(range(len(found.groups))), "a list that no concept uses, or a concept without one"
    assert len(found.names) == len(found.groups)


def test_in1k_is_split_finely() -> None:
    found = shipped("in1k")
    sizes = {name: found.of.count(place) for place, name in enumerate(found.names)}
    assert len(sizes) >= 60
    assert "general" not in sizes
    assert max(size for name, size in sizes.items() if name != "pets") <= 40


@pytest.mark.parametrize(
    ("concept", "group", "plausible", "odd"),
    [
        ("goldfish", "freshwater fish", "garden pond", "runway at sunrise"),
        ("great white shark", "sea fish", "sunlit coral reef", "kitchen floor beside a bowl"),
        ("Chihuahua", "pets", "cozy armchair", "sunlit coral reef"),
        ("crane bird", "waterfowl and waders", "marsh at dawn", "muddy construction site"),
        ("construction crane", "farm and building machines", "muddy construction site", "marsh at dawn"),
        ("polar bear", "wolves and bears", "snowy tundra", "cluttered desk by a window"),
        ("airliner", "aircraft", "runway at sunrise", "kelp forest"),
        ("cello", "musical instruments", "concert hall stage", "kelp forest"),
        ("bee", "butterflies and bees", "lavender field", "gas station at night"),
        ("pizza", "food", "wood-fired oven", "kelp forest"),
        ("toilet paper", "bathroom things", "white tiled bathroom", "snowy tundra"),
        ("scuba diver", "sea fish", "kelp forest", "wedding party"),
        ("bridegroom", "people", "wedding party", "kelp forest"),
    ],
)
def test_pairs_are_plausible(concept: str, group: str, plausible: str, odd: str) -> None:
    found = shipped("in1k")
    place = [one.name for one in load("in1k")].index(concept)
    assert found.names[found.of[place]] == group
    assert plausible in found.groups[found.of[place]]
    assert odd not in found.groups[found.of[place]]


def test_cold_blooded_animals_are_not_sent_into_the_snow() -> None:
    for name in ("frogs and turtles", "lizards and snakes", "insects and snails", "butterflies and bees"):
        assert [setting for setting in setting_lists()[name] if "snow" in setting or "frost" in setting] == [], name


def test_the_rest_of_the_pictures_has_none() -> None:
    for name in ("places365", "sun397", "dtd", "collage", "demo", "eurosat"):
        found = shipped(name)
        assert found.groups == ()
        assert found.of == (-1,) * len(load(name))
    with pytest.raises(UnknownConceptSet):
        shipped("nothing")


def test_every_list_is_used_by_some_set() -> None:
    used = {group for name in set_names() for group in shipped(name).names}
    assert used == set(setting_lists())
