"""Duplicates and near duplicates inside a unit, and the scores by which they are found across units."""

from __future__ import annotations

import random
from itertools import product

import pytest

from synfarm.contracts.captions import DropReason
from synfarm.contracts.concepts import Concept
from synfarm_caption_api.gate import KeptCaptions, names_second, near_scores
from synfarm_caption_api.gate.features import NEAR, Features, features_of, likeness, sketch

DOG = Concept(name="dog", synonyms=("golden retriever",))
FIRST = "a small brown dog lies on a red sofa beside a window at night"
NEARLY = DropReason.NEAR_DUPLICATE


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        (FIRST.upper() + ".", DropReason.DUPLICATE),
        ("the small brown dog lies on the red sofa near a window by night", NEARLY),
        ("small brown dogs lies on a red sofa beside the windows at night", NEARLY),
        ("a small brown golden retriever lies on a red sofa by a window at night", NEARLY),
        ("a small brown dog lies on a red sofa beside a window at dawn", NEARLY),
        ("a small black dog lies on a red sofa beside a window at night", None),
        ("a small red dog lies on a brown sofa beside a window at night", None),
        ("a small brown dog on a beach", None),
    ],
)
def test_near_duplicates_say_the_same_with_other_small_words(second: str, reason: DropReason | None) -> None:
    kept = KeptCaptions()
    assert kept.admit(FIRST, DOG) is None
    assert kept.admit(second, DOG) is reason


def test_what_was_refused_is_not_compared_with() -> None:
    kept = KeptCaptions()
    kept.admit("a dog with a red ball and a blue box on a beach", DOG)
    assert kept.admit("a dog with a red ball and a blue box on the beach", DOG) is NEARLY
    assert kept.admit("a dog with a green bucket on the beach", DOG) is None


def test_a_set_made_from_one_frame_does_not_fall_into_one_cluster() -> None:
    concepts = [Concept(name=name) for name in ("dog", "red fox", "owl", "tench", "cello", "lorry", "rose", "sushi")]
    backgrounds = ["snowy slope", "city street at night", "old kitchen", "desert", "harbour", "meadow"]
    kept = KeptCaptions()
    for concept, background in product(concepts, backgrounds):
        caption = f"a detailed photo of a {concept.name} standing in the {background} in soft light"
        assert kept.admit(caption, concept, background=background) is None
    again = "a detailed photo of the owl standing in a desert with soft light"
    assert kept.admit(again, Concept(name="owl"), background="desert") is NEARLY


def test_captions_without_a_word_of_their_own_are_kept_once_a_concept_and_background() -> None:
    kept = KeptCaptions()
    assert kept.admit("a dog in a snowy forest", DOG, background="snowy forest") is None
    assert kept.admit("the dog is in the snowy forest", DOG, background="snowy forest") is NEARLY
    assert kept.admit("the dog is on the beach", DOG, background="beach") is None
    assert kept.admit("a dog next to it", DOG, relation="next to") is None


def test_a_unit_of_one_concept_keeps_what_differs_and_finds_what_does_not() -> None:
    """1,024 captions of one concept, and for each one that differs in a small word or in one of ten telling ones."""
    choose = random.Random(7)
    words = [f"{a}{b}" for a in ("ber", "cor", "dal", "fen", "gor", "hul", "jam") for b in ("bo", "den", "ki", "lor")]
    texts = [" ".join(choose.sample(words, 10)) for _ in range(1024)]
    kept = KeptCaptions()
    assert not any(kept.admit(f"a dog {text}", DOG) for text in texts)
    assert sum(kept.admit(f"the dog with {text}", DOG) is NEARLY for text in texts) == 1024
    changed = [text.rpartition(" ")[0] + " zebu" for text in texts]
    assert min(likeness(_told(a), _told(b)) for a, b in zip(texts, changed, strict=True)) > NEAR
    assert sum(kept.admit(f"a dog {text}", DOG) is NEARLY for text in changed) > 1015


def _told(text: str) -> Features:
    return features_of(f"a dog {text}", DOG)


def test_near_scores_are_equal_for_equal_words_apart_for_others_and_never_change() -> None:
    scores = near_scores(features_of(FIRST, DOG))
    assert scores == near_scores(features_of("Small brown dogs, lies on the red sofa: window, night", DOG))
    assert scores == {"near0": GOLDEN[0], "near1": GOLDEN[1], "near2": GOLDEN[2]}
    other = near_scores(features_of("a dog with a green bucket on a pier", DOG))
    cat = near_scores(features_of(FIRST.replace("dog", "cat"), Concept(name="cat")))
    for apart in (other, cat):
        assert not set(scores.items()) & set(apart.items())
    assert all(value == int(value) < 2**48 for value in scores.values())


GOLDEN = (257724877975844.0, 101091031385661.0, 242130547297677.0)
"""They stand in commits: a library that hashes otherwise would make old jobs and new ones strangers."""


def test_the_sketch_never_changes() -> None:
    assert sketch(["red", "ball", "red ball"])[:3] == [3276345490, 3508160923, 3665585688]
    assert sketch(["red ball", "ball", "red"]) == sketch(["red", "ball", "red ball"])


@pytest.mark.parametrize(
    ("caption", "second", "named"),
    [
        ("a dog next to a red box", "next to", True),
        ("a dog and a box next door to it", "next to", False),
        ("a dog in front of a house", "in front of", True),
        ("an inner court with a dog", "in", False),
        ("a dog on snowy slopes", "snowy slope", True),
        ("a dog on a mountain covered in snow", "snowy mountain", True),
        ("a dog at sea", "city street at night", False),
    ],
)
def test_whether_the_second_field_is_taken_up(caption: str, second: str, named: bool) -> None:
    assert names_second(caption, second) is named
