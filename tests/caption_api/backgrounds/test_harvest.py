"""Settings as they come in: none twice, and a noun that nobody knows only on the word of two answers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from synfarm.contracts.backgrounds import SettingRefusal
from synfarm_caption_api.backgrounds.cleaning import normal_setting
from synfarm_caption_api.backgrounds.harvest import Harvest

R = SettingRefusal
SETTINGS = [
    "park",
    "a park",
    "Park",
    "under a tree",
    "tree",
    "snowy hill",
    "skidder",
    "old skidder",
    "quux",
    "back yard",
]
ANSWERS = st.lists(st.lists(st.sampled_from(SETTINGS) | st.sampled_from(SettingRefusal), max_size=8), max_size=8)


def test_a_setting_is_taken_once() -> None:
    harvest = Harvest(["front porch"])
    harvest.take(["park", "Park", R.NO_PLACE, "a park", "under a tree", "tree"])
    harvest.take(["the front porch", "hill"])
    assert harvest.settings == ["park", "under a tree", "tree", "hill"]
    assert harvest.refused == {R.DUPLICATE: 3, R.NO_PLACE: 1}


def test_a_noun_that_is_not_known_waits_for_a_second_answer() -> None:
    harvest = Harvest([])
    harvest.take(["skidder", "old skidder", "quux"])
    assert harvest.settings == []
    assert harvest.refused == {R.UNSURE: 3}, "one answer that says it twice is one answer"
    harvest.take(["park", "muddy skidder"])
    assert harvest.settings == ["park", "skidder", "old skidder", "muddy skidder"]
    harvest.take(["wide skidder"])
    assert harvest.settings[-1] == "wide skidder"
    assert harvest.refused == {R.UNSURE: 1}


def test_the_same_setting_from_a_second_answer_is_a_second_answer() -> None:
    harvest = Harvest([])
    harvest.take(["quux"])
    harvest.take(["quux"])
    assert harvest.settings == ["quux"]
    assert harvest.refused == {R.DUPLICATE: 1}


def test_nouns_of_known_settings_are_believed() -> None:
    harvest = Harvest(["quux by the sea"])
    harvest.take(["old quux"])
    assert harvest.settings == ["old quux"]


@given(st.lists(st.sampled_from(SETTINGS), max_size=3), ANSWERS)
def test_no_setting_twice_and_every_item_counted(known: list[str], answers: list[list[str | SettingRefusal]]) -> None:
    harvest = Harvest(known)
    for answer in answers:
        harvest.take(answer)
    normal = [normal_setting(setting) for setting in (*dict.fromkeys(map(normal_setting, known)), *harvest.settings)]
    assert len(set(normal)) == len(normal)
    assert len(harvest.settings) + sum(harvest.refused.values()) == sum(map(len, answers))
    again = Harvest([*known, *harvest.settings])
    again.take(harvest.settings)
    assert list(again.settings) == []
