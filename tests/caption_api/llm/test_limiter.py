"""The adaptive limit: doubles at first, then rises by one a round, halves once for a burst of push-backs."""

from __future__ import annotations

import pytest

from synfarm_caption_api.llm.limiter import AdaptiveLimit


def _round(limit: AdaptiveLimit) -> None:
    for _ in range(limit.limit):
        limit.answered(limit.limit)


def test_it_doubles_a_round_until_the_first_push_back_then_grows_by_one() -> None:
    limit = AdaptiveLimit(500, start=16)
    for _ in range(5):
        _round(limit)
    assert limit.limit == 500
    limit.pushed_back(10.0)
    assert limit.limit == 250
    _round(limit)
    assert limit.limit in {250, 251}  # 1/x summed over a round of x is a little less than one
    for _ in range(4):
        _round(limit)
    assert limit.limit in {254, 255}


def test_one_burst_halves_it_once() -> None:
    limit = AdaptiveLimit(64, start=8, settle=1.0)
    assert [limit.pushed_back(100.0 + i / 100) for i in range(20)] == [True] + [False] * 19
    assert limit.limit == 4
    assert limit.pushed_back(101.5)
    assert not limit.pushed_back(101.6)
    assert limit.limit == 2
    for i in range(20):
        limit.pushed_back(110.0 + 2 * i)
    assert limit.limit == 1


def test_it_does_not_grow_while_it_holds_nothing_back() -> None:
    limit = AdaptiveLimit(96, start=16)
    for _ in range(5000):
        limit.answered(3)
    assert limit.limit == 16


def test_a_server_s_own_cap_counts() -> None:
    limit = AdaptiveLimit(96, start=16)
    limit.restart(40)
    for _ in range(10):
        _round(limit)
    assert limit.limit == 40
    limit.restart(4)
    assert limit.limit == 4
    limit.restart(4000)
    for _ in range(10):
        _round(limit)
    assert limit.limit == 96


def test_a_restarted_server_is_filled_anew() -> None:
    limit = AdaptiveLimit(96, start=16)
    for _ in range(10):
        _round(limit)
    limit.pushed_back(5.0)
    limit.restart()
    assert limit.limit == 16
    _round(limit)
    assert limit.limit == 32


def test_no_limit_below_one() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        AdaptiveLimit(0)
