"""The pure parts of the random chaos suite: what falls is told by the seed, and outages do not count as repair."""

from __future__ import annotations

from itertools import islice

import pytest
from tests.chaos.random_faults.kinds import KINDS
from tests.chaos.random_faults.load import draw_job
from tests.chaos.random_faults.plan import draw_faults
from tests.chaos.random_faults.repairs import seconds_outside

NAMES = [kind.name for kind in KINDS]


def test_the_same_seed_gives_the_same_faults_with_the_same_choices() -> None:
    first, again, other = (list(islice(draw_faults(seed, NAMES), 60)) for seed in (7, 7, 8))
    assert first == again
    assert [planned.chance().random() for planned in first] == [planned.chance().random() for planned in again]
    assert [planned.kind for planned in first] != [planned.kind for planned in other]
    assert draw_job(7, 3) == draw_job(7, 3) != draw_job(7, 4)


def test_the_order_of_the_kinds_in_the_code_does_not_matter() -> None:
    plans = [list(islice(draw_faults(7, names), 60)) for names in (NAMES, NAMES[::-1])]
    assert plans[0] == plans[1]


def test_every_round_has_every_kind_once_in_its_own_order() -> None:
    drawn = [planned.kind for planned in islice(draw_faults(7, NAMES), 2 * len(NAMES))]
    first, second = drawn[: len(NAMES)], drawn[len(NAMES) :]
    assert sorted(first) == sorted(second) == sorted(NAMES)
    assert first != second


def test_kinds_have_different_names() -> None:
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize(
    ("away", "left"),
    [
        ([], 10),
        ([(2, 5)], 7),
        ([(-5, 2), (8, 20)], 6),
        ([(2, 5), (4, 6), (3, 4)], 6),
        ([(-3, 30)], 0),
        ([(12, 14), (-4, -2)], 10),
    ],
)
def test_time_in_which_something_was_away_is_left_out_once(away: list[tuple[float, float]], left: float) -> None:
    assert seconds_outside(0, 10, away) == left
