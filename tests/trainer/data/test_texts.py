"""Captions as bytes."""

from __future__ import annotations

import numpy as np
import pytest

from synfarm_trainer.data.texts import BEGIN, END, PADDING, VOCABULARY, encode_text


@pytest.mark.parametrize(
    ("text", "context", "expected"),
    [
        ("a Cat", 8, [BEGIN, *b"a cat", END, PADDING]),
        (" A\n\tcat  ", 8, [BEGIN, *b"a cat", END, PADDING]),
        ("Ünï", 8, [BEGIN, 0xC3, 0xBC, *b"n", 0xC3, 0xAF, END, PADDING]),
        ("a cat", 7, [BEGIN, *b"a cat", END]),
        ("a cat sits", 7, [BEGIN, *b"a cat", END]),
        # No half of a character is left.
        ("a cañon", 7, [BEGIN, *b"a ca", END, PADDING]),
        ("", 4, [BEGIN, END, PADDING, PADDING]),
        (" ", 2, [BEGIN, END]),
    ],
)
def test_a_text_is_its_bytes_between_two_marks(text: str, context: int, expected: list[int]) -> None:
    found = encode_text(text, context)
    assert found.tolist() == expected
    assert found.dtype == np.int64
    assert found.max() < VOCABULARY
