"""What holds of the gate for any text at all."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from synfarm.contracts.concepts import Concept
from synfarm.contracts.jobs import CaptionSettings
from synfarm_caption_api.gate import (
    KeptCaptions,
    clean,
    names_concept,
    names_second,
    near_scores,
    normal_form,
    refuse,
)
from synfarm_caption_api.gate.features import features_of, likeness
from synfarm_caption_api.gate.task_talk import _ANYWHERE, _BEGINS, _SIGNS_OF_IT
from synfarm_caption_api.gate.words import words_of

SETTINGS = CaptionSettings(min_words=2, max_words=12)
CONCEPTS = [
    Concept(name="dog", synonyms=("puppy", "golden retriever")),
    Concept(name="orange"),
    Concept(name="C++ (logo)"),
    Concept(name="jack-o'-lantern"),
    Concept(name="Bär"),
    Concept(name="fire truck", synonyms=("fire engine",)),
]
_PIECES = [
    *("dog", "dogs", "Dog-shaped", "orange", "an orange", "cat", "fire engine", "c++ (logo)", "JACK-O'-LANTERN", "bär"),
    *("a", "the", "and", "in front of", "is", "red", "BALL", "beach", "sofa", "next to", "2", "737-200", "I'm sorry"),
    *(".", ",", "!", "?", '"', "'", "\u201c", "\u201d", "- ", "1. ", "=>", ":", "\n", "  ", "\t", "*", "#", "_"),
    *("\u2026", "\u200b", "\u00df", "\u0130"),
]
TEXTS = st.one_of(
    st.lists(st.sampled_from(_PIECES), max_size=16).map(" ".join),
    st.lists(st.sampled_from(_PIECES), max_size=12).map("".join),
    st.text(max_size=120),
)
MANY = settings(max_examples=200, deadline=None)


@MANY
@given(TEXTS, st.sampled_from(CONCEPTS), st.booleans(), st.lists(TEXTS, max_size=3))
def test_it_never_raises_says_the_same_twice_and_keeps_only_what_names_the_concept(
    text: str, concept: Concept, truncated: bool, examples: list[str]
) -> None:
    caption = clean(text, SETTINGS, truncated=truncated)
    reason = refuse(caption, concept, examples, SETTINGS)
    assert clean(text, SETTINGS, truncated=truncated) == caption
    assert refuse(caption, concept, iter(examples), SETTINGS) is reason
    if reason is None:
        assert caption is not None
        assert names_concept(caption, concept)
        assert SETTINGS.min_words <= len(words_of(caption)) <= SETTINGS.max_words
        assert "\n" not in caption
        assert "=>" not in caption
        assert caption == caption.strip()


@MANY
@given(TEXTS, st.booleans())
def test_cleaning_a_cleaned_text_changes_nothing(text: str, truncated: bool) -> None:
    caption = clean(text, SETTINGS, truncated=truncated)
    if caption is not None:
        assert clean(caption, SETTINGS, truncated=False) == caption
        assert len(caption) <= len(text)


@MANY
@given(st.lists(st.tuples(TEXTS, st.sampled_from(CONCEPTS)), max_size=12), st.none() | st.sampled_from(_PIECES))
def test_what_is_kept_beside_others_depends_on_the_texts_alone(
    unit: list[tuple[str, Concept]], background: str | None
) -> None:
    first, again = KeptCaptions(), KeptCaptions()
    verdicts = [first.admit(text, concept, background=background) for text, concept in unit]
    assert [again.admit(text, concept, background=background) for text, concept in unit] == verdicts
    kept = [normal_form(text) for (text, _), verdict in zip(unit, verdicts, strict=True) if verdict is None]
    assert len(kept) == len(set(kept))


@MANY
@given(TEXTS, TEXTS, st.sampled_from(CONCEPTS))
def test_likeness_is_symmetric_and_one_for_the_same_words(a: str, b: str, concept: Concept) -> None:
    one, other = features_of(a, concept), features_of(b, concept)
    assert likeness(one, other) == likeness(other, one)
    assert 0 <= likeness(one, other) <= likeness(one, one) == 1
    assert near_scores(one) == near_scores(features_of(f" {a} ", concept))
    assert names_second(a, b) in {True, False}


@MANY
@given(st.one_of(st.from_regex(_BEGINS, fullmatch=True), st.from_regex(_ANYWHERE, fullmatch=True)))
def test_every_phrase_about_the_task_holds_a_word_that_is_looked_for_first(phrase: str) -> None:
    assert not _SIGNS_OF_IT.isdisjoint(words_of(phrase))
