"""Text: whole characters, stop sequences across token borders, held-back beginnings."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from synfarm_llm_server.engine.text import RowText, StopHold
from synfarm_llm_server.model.tiny import tiny_tokenizer

_TOKENIZER = tiny_tokenizer()


def _pieces(text: str, *stop: str) -> tuple[list[str], RowText]:
    row = RowText(_TOKENIZER, stop, frozenset({256}))
    ids = _TOKENIZER.encode(text).ids
    return [row.add(t, last=i == len(ids) - 1) for i, t in enumerate(ids)], row


@settings(max_examples=60, deadline=None)
@given(st.text(min_size=1, max_size=20))
def test_pieces_join_to_the_text(text: str) -> None:
    pieces, row = _pieces(text)
    assert "".join(pieces) == row.text == text


def test_characters_are_never_cut() -> None:
    pieces, _ = _pieces("é猫")
    assert pieces == ["", "é", "", "", "猫"]


def test_an_unfinished_character_is_flushed_at_the_end() -> None:
    row = RowText(_TOKENIZER, (), frozenset())
    ids = _TOKENIZER.encode("猫").ids
    assert row.add(ids[0], last=False) == ""
    assert row.add(ids[1], last=True) == "\ufffd" == row.text


def test_stop_across_tokens_cuts_behind_it() -> None:
    pieces, row = _pieces("a cat\n\ndog", "\n\n", "zzz")
    assert row.stopped_by == "\n\n"
    assert "".join(pieces) == row.text == "a cat\n\n"


def test_hold_gives_out_only_what_is_no_stop() -> None:
    hold = StopHold(("\n\n",))
    assert [hold.add(p) for p in ("a", "\n", "b", "\n", "\n")] == ["a", "", "\nb", "", ""]
    assert hold.close("\n\n") == ""
