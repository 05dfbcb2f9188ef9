"""Bars of a histogram: no length is left out, none is hidden, and numbers stand where they belong."""

from __future__ import annotations

import pytest

from synfarm_caption_api.web.histogram import histogram


def test_lengths_without_a_caption_leave_a_gap() -> None:
    made = histogram({4: 2, 7: 10})
    assert [(bar.low, bar.count) for bar in made.bars] == [(4, 2), (5, 0), (6, 0), (7, 10)]
    assert [bar.tall for bar in made.bars] == [20, 0, 0, 100]
    assert [tick.value for tick in made.rows] == [0, 5, 10]
    assert [(tick.value, tick.at) for tick in made.columns] == [(4, 12.5), (5, 37.5), (6, 62.5), (7, 87.5)]


@pytest.mark.parametrize("greatest", [1, 40, 41, 63, 200, 997])
def test_neighbours_are_joined_beyond_what_a_chart_shows(greatest: int) -> None:
    made = histogram(dict.fromkeys(range(3, greatest + 3), 1))
    assert len(made.bars) <= 41
    assert sum(bar.count for bar in made.bars) == greatest
    assert all(before.high + 1 == after.low for before, after in zip(made.bars, made.bars[1:], strict=False))
    assert made.bars[-1].x + made.bars[-1].width <= 100
    lows = {bar.low: bar.x + bar.width / 2 for bar in made.bars}
    assert 1 <= len(made.columns) <= 8
    assert all(tick.at == pytest.approx(lows[tick.value], abs=0.01) for tick in made.columns)


@pytest.mark.parametrize("most", [1, 2, 3, 4, 7, 10, 99, 1001, 8192])
def test_the_tallest_bar_fits_below_the_last_tick(most: int) -> None:
    made = histogram({5: most, 6: 1})
    assert 2 <= len(made.rows) <= 4
    assert made.rows[-1].value >= most
    assert 0 < made.bars[0].tall <= 100
