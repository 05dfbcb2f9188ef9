"""Curves before they are drawn: smoothing, gaps, and few points that keep every spike."""

from __future__ import annotations

import math

import pytest

from synfarm.report.charts.series import Series, runs_of_numbers, smoothed, thinned, window_for


def series(*ys: float) -> Series:
    return Series("loss", tuple(float(x) for x in range(len(ys))), ys)


def test_smoothing_is_the_mean_of_the_neighbours() -> None:
    assert smoothed(series(0, 3, 6, 0, 0), 3).ys == (1.5, 3, 3, 2, 0)


def test_a_gap_stays_a_gap_and_does_not_spread() -> None:
    ys = smoothed(series(1, math.nan, 3, math.inf, 5), 3).ys
    assert [y for y in ys if math.isfinite(y)] == [1, 3, 5]
    assert math.isnan(ys[1])
    assert math.isnan(ys[3])


def test_a_window_is_odd_and_at_least_one() -> None:
    assert [window_for(series(*[0.0] * n)) for n in (0, 1, 39, 200, 10_000)] == [1, 1, 1, 11, 501]


def test_thinning_keeps_ends_of_the_range_and_order() -> None:
    values = [math.sin(i / 50) for i in range(100_000)]
    values[77_777] = 9.0
    thin = thinned(series(*values), 100)
    assert len(thin) <= 200
    assert max(thin.ys) == 9.0
    assert list(thin.xs) == sorted(thin.xs)


def test_a_short_curve_is_not_thinned() -> None:
    assert thinned(series(1, 2, 3), 100) == series(1, 2, 3)


def test_a_bucket_without_numbers_is_a_gap_after_thinning() -> None:
    values = [1.0] * 100 + [math.nan] * 100 + [2.0] * 100
    pieces = runs_of_numbers(thinned(series(*values), 30))
    assert [{y for _, y in piece} for piece in pieces] == [{1.0}, {2.0}]


def test_pieces_end_where_values_are_no_numbers() -> None:
    assert runs_of_numbers(series(math.nan, 1, 2, math.inf, 3)) == [[(1, 1), (2, 2)], [(4, 3)]]
    assert runs_of_numbers(series()) == []


def test_places_and_values_must_be_as_many() -> None:
    with pytest.raises(ValueError, match="2 places and 1 values"):
        Series("loss", (1.0, 2.0), (1.0,))
