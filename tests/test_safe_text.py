"""Characters that act are taken out of other people's words; letters, emoji and their joiners are not."""

from __future__ import annotations

import json

import pytest

from synfarm.safe_text import escaped, visible

ACTING = [
    *map(chr, [*range(0x09), *range(0x0B, 0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)]),
    *"\u2028\u2029\ud800\udcff\udfff\ufdd0\ufffe\uffff",
]


def test_each_acting_character_becomes_a_sign_one_column_wide() -> None:
    assert [visible(f"a{sign}b") for sign in ACTING] == ["a\ufffdb"] * len(ACTING)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a dog\ton two\nlines",
        "Straße, 東京, שלום, مرحبا",
        "🐕\u200d🦺 🏴\U000e0067\U000e007f",
        "\u200fright",
        "a\xa0b",
    ],
)
def test_words_of_any_language_stay_as_they_are(text: str) -> None:
    assert visible(text) == text == escaped(text)


def test_a_line_s_end_of_windows_is_one() -> None:
    assert visible("one\r\ntwo\rthree") == "one\ntwo\ufffdthree"


def test_escaped_json_is_the_same_value() -> None:
    value = {"a\x9b": ["\x1b[31m", "\x7f\u202e\u2028\n", "plain"]}
    raw = json.dumps(value, ensure_ascii=False)
    assert json.loads(escaped(raw)) == value
    assert escaped(raw).isprintable()
