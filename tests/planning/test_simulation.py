"""The simulated farm: closed forms where there are any, monotone where it must be, every unit once whatever happens."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synfarm.planning.simulation.farm import Outage, SimulatedFarm
from synfarm.planning.simulation.many import simulate_many, slice_of
from synfarm.planning.simulation.run import simulate

CALM = {"render_seconds": 60.0, "caption_seconds": 2, "finish_seconds": 3.0, "caption_slots": 1000, "window": 10_000}
few = settings(max_examples=25)


def farm(**changes: object) -> SimulatedFarm:
    return SimulatedFarm.model_validate({"units": 100, "render_workers": 7, **CALM, **changes})


@few
@given(units=st.integers(1, 300), workers=st.integers(1, 40), render=st.integers(1, 90), finish=st.integers(0, 5))
def test_without_failures_it_is_the_closed_form(units: int, workers: int, render: int, finish: int) -> None:
    """Captions, then rounds of the workers, then the last commit; times are whole passes, and nothing waits for one."""
    told = farm(units=units, render_workers=workers, render_seconds=render, finish_seconds=finish)
    outcome = simulate(told, seed=1)
    assert outcome.seconds == pytest.approx(2 + math.ceil(units / workers) * render + finish)
    assert (outcome.committed, outcome.sends, outcome.dead, outcome.lost_seconds) == (units, units, 0, 0)
    idle = workers * outcome.seconds - units * render
    assert outcome.idle_seconds == pytest.approx(idle)


def test_captions_that_are_too_slow_are_what_it_waits_for() -> None:
    told = farm(units=50, render_workers=50, caption_slots=1, caption_seconds=30, render_seconds=10)
    assert simulate(told, seed=1).seconds == pytest.approx(50 * 30 + 10 + 3)


def test_a_small_window_holds_workers_back() -> None:
    """Four units in flight for eight workers: half of them have none, and each pass gives what was committed before."""
    wide, narrow = (simulate(farm(units=80, render_workers=8, window=window), 1).seconds for window in (100, 4))
    assert narrow == pytest.approx(20 * (2 + 60 + 3))
    assert narrow > 2 * wide


@few
@given(seed=st.integers(0, 1000), workers=st.integers(1, 30), units=st.integers(1, 200))
def test_more_workers_are_never_slower(seed: int, workers: int, units: int) -> None:
    less, more = (
        simulate(farm(units=units, render_workers=count, render_spread=0.5), seed).seconds
        for count in (workers, workers + 1)
    )
    assert more <= less + 1e-6


@few
@given(
    seed=st.integers(0, 10_000),
    workers=st.integers(1, 12),
    units=st.integers(1, 120),
    losses=st.floats(0, 20),
    faults=st.floats(0, 0.6),
    notice=st.booleans(),
    away=st.lists(st.tuples(st.sampled_from(["store", "redis"]), st.integers(0, 900), st.integers(1, 300)), max_size=3),
)
def test_every_unit_once_whatever_happens(
    seed: int,
    workers: int,
    units: int,
    losses: float,
    faults: float,
    notice: bool,
    away: list[tuple[str, int, int]],
) -> None:
    told = farm(
        units=units,
        render_workers=workers,
        render_spread=0.3,
        preemptions_per_hour=losses,
        restart_seconds=20,
        fault_rate=faults,
        notice=notice,
        outages=[Outage.model_validate({"of": of, "at": at, "seconds": seconds}) for of, at, seconds in away],
    )
    outcome = simulate(told, seed)
    assert outcome.committed + outcome.dead == units
    assert outcome.sends >= units
    assert 0 <= outcome.idle_seconds <= outcome.seconds * workers + 1e-6
    assert outcome.lost_seconds + outcome.idle_seconds <= outcome.seconds * workers * 1.2 + 300 * workers
    if not faults:
        assert outcome.dead == 0
    assert simulate(told, seed) == outcome


def test_a_lost_worker_costs_no_more_than_the_unit_that_it_had() -> None:
    told = farm(units=400, render_workers=10, preemptions_per_hour=6, restart_seconds=30, finish_seconds=0)
    outcome = simulate(told, seed=3)
    assert outcome.lost_workers > 20
    assert outcome.most_lost <= told.render_seconds
    assert outcome.lost_seconds <= outcome.lost_workers * told.render_seconds
    assert outcome.sends - outcome.committed <= outcome.lost_workers


def test_a_loss_that_was_recorded_strikes_once_and_nobody_who_is_away() -> None:
    """One worker of two is killed in its second unit, and again while it is away."""
    losses = [{"worker": 0, "at": 100, "seconds": 40}, {"worker": 0, "at": 110}]
    told = farm(units=4, render_workers=2, losses=losses, restart_seconds=5, lease_seconds=6)
    outcome = simulate(told, 1)
    assert (outcome.lost_workers, outcome.sends, outcome.committed) == (1, 5, 4)
    assert outcome.lost_seconds == pytest.approx(100 - 62)
    # The other worker has its second unit until 122, and then the one that was lost.
    assert outcome.seconds == pytest.approx(122 + 60 + 3)


def test_a_unit_of_a_lost_worker_waits_for_its_lease_unless_there_was_notice() -> None:
    """One worker, one loss; its successor is there at once, the unit is not."""
    alone = {"units": 1, "render_workers": 1, "preemptions_per_hour": 40, "lease_seconds": 300}
    seed = next(seed for seed in range(100) if simulate(farm(**alone), seed).lost_workers == 1)
    silent, told = (simulate(farm(**alone, notice=notice), seed) for notice in (False, True))
    assert silent.lost_workers == told.lost_workers == 1
    assert 200 <= silent.seconds - told.seconds <= 300.5


def test_an_outage_of_the_store_holds_commits_up_and_one_that_lasts_costs_the_unit() -> None:
    calm = simulate(farm(units=1, render_workers=1), 1)
    short = Outage(of="store", at=calm.seconds - 1, seconds=20)
    held = simulate(farm(units=1, render_workers=1, outages=[short], store_patience=30), 1)
    assert held.seconds == pytest.approx(calm.seconds + 19)
    assert held.lost_seconds == 0
    again = simulate(farm(units=1, render_workers=1, outages=[short], store_patience=5), 1)
    assert (again.sends, again.committed) == (2, 1)
    assert again.lost_seconds == pytest.approx(63)


def test_redis_away_ends_workers_when_they_have_committed() -> None:
    away = Outage(of="redis", at=30, seconds=60)
    outcome = simulate(farm(units=2, render_workers=1, outages=[away], restart_seconds=15), 1)
    assert (outcome.sends, outcome.committed) == (2, 2)
    assert outcome.seconds == pytest.approx(90 + 15 + 60 + 3)


def test_redis_goes_while_a_worker_without_a_unit_finishes_one() -> None:
    """The last unit is drawn at 62 and committed at 65, in the middle of it."""
    away = Outage(of="redis", at=63, seconds=60)
    outcome = simulate(farm(units=1, render_workers=1, outages=[away], restart_seconds=15), 1)
    assert (outcome.sends, outcome.committed, outcome.lost_seconds) == (1, 1, 0)


def test_a_unit_that_fails_three_times_is_dead() -> None:
    outcome = simulate(farm(units=500, fault_rate=0.5), 1)
    assert outcome.dead == pytest.approx(500 / 8, rel=0.3)
    assert outcome.sends == pytest.approx(500 * 1.75, rel=0.1)


def test_a_long_job_is_reckoned_from_its_beginning() -> None:
    told = farm(units=5000, render_workers=20, preemptions_per_hour=2, restart_seconds=60, window=88)
    assert slice_of(told) == 2000
    part, whole = simulate_many(told, 2), simulate(told, 0).seconds / 3600
    assert part.simulated_units == 4000
    assert part.hours.median == pytest.approx(whole, rel=0.02)
    assert part.hours.low <= part.hours.median <= part.hours.high
    assert part.lost_workers.median == pytest.approx(2 * 20 * part.hours.median, rel=0.1)
