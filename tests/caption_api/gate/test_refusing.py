"""The quality gate: each reason has texts that it refuses and near ones that it keeps."""

from __future__ import annotations

import pytest

from synfarm.contracts.captions import DropReason
from synfarm.contracts.concepts import Concept
from synfarm.contracts.jobs import CaptionSettings
from synfarm_caption_api.gate import clean, names_concept, normal_form, refuse

SETTINGS = CaptionSettings()
TRUCK = Concept(name="fire truck", synonyms=("fire engine",))


@pytest.mark.parametrize(
    ("raw", "truncated", "expected"),
    [
        (" a red dog on a beach\nowl => a bird", False, "a red dog on a beach"),
        ("\na red dog", False, ""),
        ("   ", False, ""),
        (' "a red dog on a beach" ', False, "a red dog on a beach"),
        ("1. a red dog on a beach", False, "a red dog on a beach"),
        (" - 'a red dog on a beach'", False, "a red dog on a beach"),
        ("a red dog on a", True, None),
        ("a red dog on a\n", True, "a red dog on a"),
        ("A dog sits on a beach. It is a very", True, "A dog sits on a beach."),
        ("A dog sits. It is red", False, "A dog sits. It is red"),
        ("A dog sits on a beach. " + "Red " * 50, False, "A dog sits on a beach."),
    ],
)
def test_cleaning_keeps_the_first_line_in_whole_sentences(raw: str, truncated: bool, expected: str | None) -> None:
    """Pitfall 36: the model goes on with further examples."""
    assert clean(raw, SETTINGS, truncated=truncated) == expected


def test_what_a_cut_leaves_in_quotes_is_cleaned_as_well() -> None:
    text = '"A dog sits on a beach." "It is red." ' + "Then it ran away " * 20
    caption = clean(text, SETTINGS, truncated=False)
    assert caption is not None
    assert caption[0] == "A"
    assert clean(caption, SETTINGS, truncated=False) == caption


@pytest.mark.parametrize(
    ("caption", "reason"),
    [
        ("a red fire truck in front of a house", None),
        ("two Fire Trucks, parked in the snow", None),
        ("an old fire-engine on a beach", None),
        (None, DropReason.UNFINISHED),
        ("", DropReason.EMPTY),
        ("...", DropReason.EMPTY),
        ("a fire truck", DropReason.TOO_SHORT),
        ("a fire truck " + "and so on with more ".join("abcdefghijklm"), DropReason.TOO_LONG),
        ("a red truck on fire in a forest", DropReason.CONCEPT_LOST),
        ("a fire truckload of sand on a beach", DropReason.CONCEPT_LOST),
        ("a fire truck => a red car on a beach", DropReason.PROMPT_LEAK),
        ("a fire truck. Two otters on a ROCK", DropReason.PROMPT_LEAK),
        ("a large red fire truck with a large red ladder and a large red light", DropReason.REPEATS),
        ("a fire truck with a cockpit and a cockpit", DropReason.REPEATS),
        ("a fire truck is very very red and big", DropReason.REPEATS),
        ("a white fire truck with white wheels, white doors", DropReason.REPEATS),
        ("a fire truck next to a house next to a tree", None),
    ],
)
def test_each_reason(caption: str | None, reason: DropReason | None) -> None:
    assert refuse(caption, TRUCK, ["two otters on a rock"], SETTINGS) is reason


@pytest.mark.parametrize(
    ("caption", "name", "found"),
    [
        ("three butterflies in a meadow", "butterfly", True),
        ("two buses in the rain", "bus", True),
        ("a scattered pile of leaves", "cat", False),
        ("a dog-shaped cloud", "dog", False),
        ("the dog's red ball", "dog", True),
        ("a C++ (logo)", "c++ (logo)", True),
        ("ein Bär im Wald", "bär", True),
    ],
)
def test_a_concept_is_a_whole_word(caption: str, name: str, found: bool) -> None:
    assert names_concept(caption, Concept(name=name)) is found


def test_duplicates_ignore_case_and_punctuation() -> None:
    assert normal_form("A red dog, on a beach.") == normal_form("a red Dog on a beach")
