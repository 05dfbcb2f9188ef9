"""Extended plans: units that were committed keep their captions, and nothing is planned twice or left out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synfarm.contracts.base import utc_now
from synfarm.contracts.generations import Opening, planned_by, unit_of
from synfarm.contracts.jobs import Concept, JobSpec

JOB = "01k" + "0" * 23


def spec_of(captions: int, size: int) -> JobSpec:
    return JobSpec(
        job=JOB,
        owner="me",
        created_at=utc_now(),
        concepts=(Concept(name="cat"),),
        captions=captions,
        captions_per_unit=size,
    )


def extend(spec: JobSpec, *totals: int) -> JobSpec:
    return planned_by(
        spec,
        [
            Opening(job=JOB, generation=number, why="extend", captions=total, by="me", at=utc_now())
            for number, total in enumerate(totals, 2)
        ],
    )


@given(st.lists(st.integers(1, 60), min_size=1, max_size=5, unique=True).map(sorted), st.integers(1, 9))
def test_every_caption_has_one_unit_whatever_was_added(totals: list[int], size: int) -> None:
    frozen = spec_of(totals[0], size)
    plan = extend(frozen, *totals[1:])
    ranges = [plan.unit_range(unit) for unit in range(plan.units)]
    assert [index for planned in ranges for index in planned] == list(range(totals[-1]))
    assert all(0 < len(planned) <= size for planned in ranges)
    assert [unit_of(plan, index) for index in range(totals[-1])] == [
        unit for unit, planned in enumerate(ranges) for _ in planned
    ]
    assert ranges[: frozen.units] == [frozen.unit_range(unit) for unit in range(frozen.units)]
    with pytest.raises(ValueError, match="units 0 to"):
        plan.unit_range(plan.units)


def test_a_retry_changes_no_plan() -> None:
    frozen = spec_of(10, 4)
    retry = Opening(job=JOB, generation=2, why="retry", captions=10, by="me", at=utc_now())
    assert planned_by(frozen, [retry]) is frozen
