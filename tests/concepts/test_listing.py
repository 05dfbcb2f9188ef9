"""A concept list in text is read line by line, and a bad line is named with its cure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synfarm.concepts import BadConceptList, parse_concept_list
from synfarm.contracts.jobs import Concept, ConceptKind


def test_names_synonyms_comments_headings() -> None:
    text = "\ufeff# mine\r\n\r\nred panda:  lesser   panda ,firefox # two words\nkettle\n[place]\nharbor\n"
    text += "[ texture ]\nmoss: mossy\n"
    assert parse_concept_list(text) == (
        Concept(name="red panda", synonyms=("lesser panda", "firefox")),
        Concept(name="kettle"),
        Concept(name="harbor", kind=ConceptKind.PLACE),
        Concept(name="moss", synonyms=("mossy",), kind=ConceptKind.TEXTURE),
    )


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("dog\ncat, horse\n", 2, "write one concept a line"),
        ("dog\n: puppy\n", 2, "no name before the colon"),
        ("dog:\n", 1, "'dog' has an empty synonym"),
        ("dog: puppy,\n", 1, "'dog' has an empty synonym"),
        ("[animals]\ndog\n", 1, r"\[animals\] is none of the headings \[object\], \[place\], \[texture\]"),
        ("[place\nharbor\n", 1, r"\[place is none of the headings"),
        ("dog\n\nDog\n", 3, r"'Dog' stands for 'dog' already \(line 1\)"),
        ("dog: puppy\nfox: Puppy\n", 2, r"'Puppy' stands for 'dog' already \(line 1\)"),
        ("dog => cat\n", 1, "must not hold '=>'"),
        ("x" * 81, 1, "name: must have at most 80 characters, not 81"),
        ("# nothing\n\n", 0, "the list names no concept"),
    ],
)
def test_a_bad_line_is_named(text: str, line: int, words: str) -> None:
    with pytest.raises(BadConceptList, match=words) as raised:
        parse_concept_list(text)
    assert raised.value.line == line
    assert str(raised.value).startswith(f"line {line}: ") == bool(line)


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        concepts = parse_concept_list(text)
    except BadConceptList:
        return
    assert len({concept.name.casefold() for concept in concepts}) == len(concepts)
