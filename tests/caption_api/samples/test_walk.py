"""The walking order: each number once, every beginning spread, and the same order for a job that grows."""

from __future__ import annotations

from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synfarm_caption_api.samples.walk import spread, walk


def test_the_order_is_van_der_corput_s() -> None:
    assert list(spread(8)) == [0, 4, 2, 6, 1, 5, 3, 7]
    assert list(spread(6)) == [0, 4, 2, 1, 5, 3]
    assert list(spread(1)) == [0]
    assert list(spread(0)) == []


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 3000))
def test_each_number_once(bound: int) -> None:
    assert sorted(spread(bound)) == list(range(bound))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 1500), st.integers(0, 1500))
def test_growth_puts_numbers_in_between_and_swaps_none(bound: int, more: int) -> None:
    grown = [number for number in spread(bound + more) if number < bound]
    assert grown == list(spread(bound))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 1500), st.integers(0, 4000))
def test_a_walk_goes_on_where_its_cursor_says(bound: int, start: int) -> None:
    whole = list(spread(5000))
    after = whole[whole.index(start) :]
    assert list(spread(bound, start)) == [number for number in after if number < bound]


@pytest.mark.parametrize("start", [10**10 - 1, 2**40])
def test_a_cursor_far_beyond_the_job_costs_nothing(start: int) -> None:
    assert len(list(spread(10, start))) <= 10


@settings(max_examples=40, deadline=None)
@given(st.integers(20, 2000), st.integers(5, 20))
def test_every_beginning_is_spread(bound: int, count: int) -> None:
    seen = sorted(islice(spread(bound), count))
    gaps = [b - a for a, b in zip(seen, [*seen[1:], bound], strict=True)]
    assert max(gaps) <= 4 * bound / count + 1


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 400), st.integers(1, 30), st.integers(0, 399))
def test_blocks_stay_whole_and_every_index_comes_once(bound: int, block: int, cursor: int) -> None:
    whole = list(walk(bound, 0, block))
    assert sorted(whole) == list(range(bound))
    if cursor < bound:
        assert list(walk(bound, cursor, block)) == whole[whole.index(cursor) :]
