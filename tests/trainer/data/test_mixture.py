"""The round robin by weights against a slow loop over exact fractions."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synfarm_trainer.data.mixture import LONGEST_PERIOD, Shares, whole_weights

weights = st.lists(st.integers(1, 40), min_size=1, max_size=9).map(tuple)


def slow_sequence(of: tuple[int, ...], positions: int) -> list[int]:
    """Tijdeman's quota sequence by its definition: among those below their upper quota the one whose lower quota is
    hurt first, in exact fractions, without periods."""
    total, had = sum(of), [0] * len(of)
    found = []
    for n in range(1, positions + 1):
        may = [d for d, w in enumerate(of) if had[d] + 1 <= ceil(Fraction(n * w, total))]
        chosen = min(may, key=lambda d: (ceil(Fraction((had[d] + 1) * total, of[d])), d))
        had[chosen] += 1
        found.append(chosen)
    return found


@given(weights, st.integers(0, 300))
@settings(max_examples=80, deadline=None)
def test_positions_are_those_of_the_slow_loop(of: tuple[int, ...], start: int) -> None:
    shares, positions = Shares(of), np.arange(start, start + 200)
    datasets, places = shares.locate(positions)
    slow = slow_sequence(of, start + 200)
    assert datasets.tolist() == slow[start:]
    assert places.tolist() == [slow[:n].count(slow[n]) for n in range(start, start + 200)]


@given(weights)
@settings(max_examples=80, deadline=None)
def test_after_n_positions_each_dataset_has_had_floor_or_ceiling_of_its_share(of: tuple[int, ...]) -> None:
    shares, n = Shares(of), 2 * sum(of) + 7
    datasets, _ = shares.locate(np.arange(n))
    for dataset, weight in enumerate(of):
        had = np.concatenate([[0], np.cumsum(datasets == dataset)])
        for positions, count in enumerate(had.tolist()):
            share = Fraction(positions * weight, sum(of))
            assert count in {floor(share), ceil(share)}
            assert shares.count(dataset, positions) == count


@given(weights, st.data())
@settings(max_examples=60, deadline=None)
def test_a_place_leads_back_to_its_position(of: tuple[int, ...], data: st.DataObject) -> None:
    shares = Shares(of)
    dataset = data.draw(st.integers(0, len(of) - 1))
    place = data.draw(st.integers(0, 2**40))
    position = shares.position(dataset, place)
    found, own = shares.locate(np.array([position]))
    assert (found.tolist(), own.tolist()) == ([dataset], [place])
    assert shares.count(dataset, position) == place


@given(weights, st.integers(0, 500), st.integers(1, 100))
@settings(max_examples=60, deadline=None)
def test_no_run_of_positions_has_more_of_a_dataset_than_told(of: tuple[int, ...], start: int, length: int) -> None:
    datasets, _ = Shares(of).locate(np.arange(start, start + length))
    for dataset, most in enumerate(Shares(of).most_in(length)):
        assert (datasets == dataset).sum() <= most


@pytest.mark.parametrize(
    ("given_weights", "whole"),
    [([1.0], (1,)), ([0.7, 0.3], (7, 3)), ([2, 4, 6], (1, 2, 3)), ([0.1, 0.25], (2, 5)), ([1e-3, 1.0], (1, 1000))],
)
def test_weights_are_taken_as_they_are_written(given_weights: list[float], whole: tuple[int, ...]) -> None:
    assert whole_weights(given_weights) == whole


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ([], "positive"),
        ([1.0, 0.0], "leave out a job"),
        ([1.0, -1.0], "positive"),
        ([float("inf")], "positive"),
        ([1 / 3, 0.5], "fewer digits"),
        ([1.0, LONGEST_PERIOD], "fewer digits"),
    ],
)
def test_weights_that_cannot_be_are_refused_by_name(wrong: list[float], words: str) -> None:
    with pytest.raises(ValueError, match=rf"^weights: .*{words}"):
        whole_weights(wrong)


def test_the_longest_period_is_laid_out_at_once() -> None:
    of = (LONGEST_PERIOD - 51_003, 1, 51_001, 1)
    datasets, _ = Shares(of).locate(np.arange(LONGEST_PERIOD))
    assert np.bincount(datasets).tolist() == list(of)
