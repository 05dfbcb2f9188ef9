"""Axes: round ticks that hold the values, and ranges that cannot be zero wide."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synfarm.report.charts.scales import LinearScale, axis


def test_a_scale_maps_its_ends_and_its_middle() -> None:
    down = LinearScale(0, 10, 200, 20)
    assert (down(0), down(10), down(5)) == (200, 20, 110)


@pytest.mark.parametrize(
    ("values", "options", "labels", "factor"),
    [
        ([3.9, 5.05], {}, ("3.5", "4.0", "4.5", "5.0", "5.5"), ""),
        ([1, 200], {"zero": True, "snug": True}, ("0", "50", "100", "150", "200"), ""),
        ([0, 1e-3], {"zero": True}, ("0.00", "0.25", "0.50", "0.75", "1.00"), "×10⁻³"),
        ([0, 500_000], {"snug": True}, ("0", "200", "400"), "×10³"),
        ([-1, 1], {}, ("−1.0", "−0.5", "0.0", "0.5", "1.0"), ""),
        ([0, 10], {}, ("0.0", "2.5", "5.0", "7.5", "10.0"), ""),
    ],
)
def test_ticks_are_round_and_written_alike(
    values: list[float], options: dict[str, bool], labels: tuple[str, ...], factor: str
) -> None:
    found = axis(values, **options)
    assert (found.labels, found.factor) == (labels, factor)


@pytest.mark.parametrize("values", [[], [math.nan], [math.inf, -math.inf]])
def test_without_a_number_there_is_still_an_axis(values: list[float]) -> None:
    assert axis(values).low < axis(values).high


@given(st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=5), st.booleans(), st.booleans())
def test_every_value_lies_on_the_axis(values: list[float], zero: bool, snug: bool) -> None:
    found = axis(values, zero=zero, snug=snug)
    span = found.high - found.low
    assert span > 0
    assert all(found.low - 1e-6 * span <= value <= found.high + 1e-6 * span for value in values)
    assert len(found.ticks) == len(found.labels) <= 12
