"""From what a language model writes to settings: a table of what was seen, and what must hold for any text."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synfarm.concepts.backgrounds import setting_lists
from synfarm.contracts.backgrounds import SettingRefusal
from synfarm.contracts.concepts import Concept, is_phrase
from synfarm_caption_api.backgrounds.asking import example_lists
from synfarm_caption_api.backgrounds.cleaning import as_line, normal_setting, read_setting
from synfarm_caption_api.backgrounds.making import settings_in
from synfarm_caption_api.backgrounds.reading import items_of
from synfarm_caption_api.text_generator import FinishReason, Generation

DOG = Concept(name="dog", synonyms=("puppy",))
SHOWN = ("on a beach at sunrise", "in a barn at dusk")
R = SettingRefusal


@pytest.mark.parametrize(
    ("listed", "items"),
    [
        ("- a dog in a park\n- a dog on a porch\n", ["a dog in a park", "a dog on a porch"]),
        ("1. park\n2) porch\n(3) hill\n 12: barn", ["park", "porch", "hill", "barn"]),
        ("a) park\n• porch\n–  hill\n* barn", ["park", "porch", "hill", "barn"]),
        ("- 1. park\n\t- porch", ["park", "porch"]),
        ("park, porch, snowy hill, and barn", ["park", "porch", "snowy hill", "barn"]),
        ("park; porch; hill", ["park", "porch", "hill"]),
        ("- a small, quiet room\n", ["a small, quiet room"]),
        ("- a dog in a park\n- \n- a dog on a hill\n", ["a dog in a park", "a dog on a hill"]),
        ("- a dog in a park\n\nPhotos of a cat:\n- a cat on a sofa", ["a dog in a park"]),
        ("\n\n- park\r\n- porch\r\n", ["park", "porch"]),
        ("", []),
        ("\n \n", []),
    ],
)
def test_lists_are_cut_into_items(listed: str, items: list[str]) -> None:
    assert items_of(listed, truncated=False) == items


@pytest.mark.parametrize(
    ("listed", "items"),
    [
        ("- park\n- por", ["park"]),
        ("- park\n- porch\n", ["park", "porch"]),
        ("- park\n- porch\n\n- a hi", ["park", "porch"]),
        ("- park, porch, hil", ["park", "porch"]),
        ("- par", []),
        ("", []),
    ],
)
def test_a_piece_at_the_token_limit_is_no_item(listed: str, items: list[str]) -> None:
    assert items_of(listed, truncated=True) == items


@pytest.mark.parametrize(
    ("item", "setting"),
    [
        ("a dog in a park", "park"),
        ("a dog on the snowy front porch.", "snowy front porch"),
        ("The dog at the vet's office", "vet's office"),
        ("dogs on a beach at low tide", "beach at low tide"),
        ("a puppy in its wicker basket", "wicker basket"),
        ("two small dogs on a sofa", "sofa"),
        ("a dog sitting on a bench in a park", "bench in a park"),
        ("a dog and a cat in a garden", "garden"),
        ("a dog looking at the camera in a meadow", "meadow"),
        ("a dog under a tree", "under a tree"),
        ("a dog in front of a red barn", "in front of a red barn"),
        ("a dog in the middle of a busy street", "busy street"),
        ("a dog on the side of the road", "road"),
        ("a dog inside of a tent", "tent"),
        ("in a meadow with wild flowers", "meadow with wild flowers"),
        ("in a park with the dog", "park"),
        ("a dog in a park with a tail", "park"),
        ("a dog in a field eating grass", "field"),
        ("a dog in a park, playing with a ball", "park"),
        ("a dog in a small, quiet room", "small quiet room"),
        ("a dog in a park (sunny)", "park"),
        ("a dog in a park - its favourite place", "park"),
        ("**a dog in a park**", "park"),
        ("“a dog in a park”", "park"),
        ("sunny back yard", "sunny back yard"),
        ("the kitchen floor", "kitchen floor"),
        ("a dog on a merry-go-round", "merry-go-round"),
        ("a dog in Central Park", "Central Park"),
        ('a dog on a "skidder", old town', "skidder old town"),
        ("a dog near the old , wooden barn", "near the old wooden barn"),
    ],
)
def test_settings_are_read(item: str, setting: str) -> None:
    assert read_setting(item, DOG, SHOWN) == setting


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ("", R.EMPTY),
        ("  ", R.EMPTY),
        ("...", R.NON_LANGUAGE),
        ("a dog in a <b>park</b>", R.NON_LANGUAGE),
        ("a dog in a xkcdqrtz", R.NON_LANGUAGE),
        ("a dog on the beach\x07 at night", R.NON_LANGUAGE),
        ("Photos of a dog:", R.PROMPT_LEAK),
        ("dog => park", R.PROMPT_LEAK),
        ("a dog on a beach at sunrise", R.PROMPT_LEAK),
        ("a dog in the Barn at dusk", R.PROMPT_LEAK),
        ("I'm sorry, I cannot describe this image in a park", R.REFUSAL),
        ("a dog", R.NO_PLACE),
        ("a dog with a ball", R.NO_PLACE),
        ("a dog is a domestic animal", R.NO_PLACE),
        ("a cat on a sofa", R.NO_PLACE),
        ("a woman in a kitchen", R.NO_PLACE),
        ("a dog in the background", R.NO_PLACE),
        ("a dog on a leash", R.NO_PLACE),
        ("a dog on the right side", R.NO_PLACE),
        ("a dog in a house that is on fire", R.NO_PLACE),
        ("a dog in a house of the", R.NO_PLACE),
        ("tennis ball", R.NO_PLACE),
        ("a dog in a dog park", R.NAMES_CONCEPT),
        ("dog park", R.NAMES_CONCEPT),
        ("a dog in a basket of puppies", R.NAMES_CONCEPT),
        ("a dog in a big old house by the lake near the quiet northern forest", R.TOO_LONG),
        ("a dog in a hospital hospital", R.REPEATS),
        ("a dog on a beach by the beach", R.REPEATS),
    ],
)
def test_what_is_no_setting_has_its_reason(item: str, reason: SettingRefusal) -> None:
    assert read_setting(item, DOG, SHOWN) is reason


@pytest.mark.parametrize(
    ("answer", "finish", "read"),
    [
        (" in a park\n- a dog on a hill\n\n", "stop_sequence", ["park", "hill"]),
        ("in a park\n- a dog on a hill", "eos_token", ["park", "hill"]),
        (" in a park\n- a dog on a hi", "length", ["park"]),
        ("'s bed in a house\n- a dog on a hill", "eos_token", ["house", "hill"]),
        ("house in a garden\n- a dog on a hill", "eos_token", [R.NO_PLACE, "hill"]),
        ("", "eos_token", [R.NO_PLACE]),
    ],
)
def test_an_answer_goes_on_with_the_line_of_the_prompt(
    answer: str, finish: FinishReason, read: list[str | SettingRefusal]
) -> None:
    assert settings_in(Generation(answer, finish, 9), DOG, ()) == read


def test_names_with_relations_in_them() -> None:
    jack = Concept(name="jack in a box")
    assert read_setting("a jack in a box on a shelf", jack) == "shelf"
    assert read_setting("a jack in a drawer", jack) is R.NO_PLACE
    assert read_setting("scissors on a table", Concept(name="scissors")) == "table"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Sunny Park", "a sunny park", True),
        ("the beach", "on a beach", True),
        ("beach", "beaches", False),
        ("tree", "under a tree", False),
        ("under a tree", "Under the trees", True),
        ("café-terrace", "cafe terrace", False),
    ],
)
def test_what_counts_as_the_same_setting(one: str, other: str, same: bool) -> None:
    assert (normal_setting(one) == normal_setting(other)) is same


def test_the_settings_that_ship_pass_for_such() -> None:
    """Nearly all: some of them name the dog."""
    settings = [setting for settings in setting_lists().values() for setting in settings]
    thing = Concept(name="gizmo")
    lost = [setting for setting in settings if isinstance(read_setting(as_line(setting, thing), thing), SettingRefusal)]
    assert len(lost) < 0.02 * len(settings), lost


def test_the_examples_are_read_as_they_are_meant() -> None:
    assert len(example_lists()) >= 10
    for name, settings in example_lists().items():
        assert len({normal_setting(setting) for setting in settings}) == len(settings) >= 8
        for setting in settings:
            read = read_setting(f"a {name} {setting}", Concept(name=name))
            assert not isinstance(read, SettingRefusal), (name, setting, read)


ANYTHING = st.text(max_size=120) | st.text(string.ascii_letters + " ,.'-()\n", max_size=120)
_WORDS = (
    "a an the in on at under beside dog puppy dogs park kitchen tree old, red with and of by near sitting eating its "
    "(big) front middle - house: is that 3 air beach’s"
)
PHRASES = st.lists(st.sampled_from(_WORDS.split()), max_size=12).map(" ".join)
ODD = st.lists(st.sampled_from(["old", "wooden", "barn", ",", '"', "\x07", "\u200b"]), max_size=6).map(" ".join)
"""Signs where they should not be, after words that pass."""


@given(ANYTHING | PHRASES | ODD.map("a dog on the {}".format))
def test_a_setting_is_clean_and_reads_the_same_again(item: str) -> None:
    setting = read_setting(item, DOG)
    if isinstance(setting, SettingRefusal):
        return
    assert is_phrase(setting), "the answer of the route takes nothing else"
    assert setting == " ".join(setting.split())
    assert 0 < len(setting) <= 80
    assert len(setting.split()) <= 16
    assert normal_setting(setting)
    assert "\n" not in setting
    assert "=>" not in setting
    assert read_setting(as_line(setting, DOG), DOG) == setting


@given(ANYTHING | st.lists(PHRASES, max_size=6).map("\n- ".join), st.booleans())
def test_items_are_never_empty_and_a_cut_loses_one_at_most(text: str, truncated: bool) -> None:
    items = items_of(text, truncated=truncated)
    assert all(item.strip() for item in items)
    assert items == items_of(text, truncated=False)[: len(items)]
    assert len(items_of(text, truncated=False)) - len(items) <= 1


@given(st.lists(st.sampled_from(sorted(set(setting_lists()["pets"]))), max_size=30))
def test_a_list_that_was_written_is_read_again(settings: list[str]) -> None:
    thing = Concept(name="gizmo")
    listed = "".join(f"- {as_line(setting, thing)}\n" for setting in settings)
    assert [read_setting(item, thing) for item in items_of(listed, truncated=True)] == settings
