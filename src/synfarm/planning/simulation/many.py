"""Many runs of one simulated farm: what comes of it with other luck."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pydantic import Field

from synfarm.contracts.base import Contract
from synfarm.planning.simulation.farm import Outcome, SimulatedFarm
from synfarm.planning.simulation.run import simulate

__all__ = ["Interval", "Simulated", "simulate_many", "slice_of"]

_SLICE, _ROUNDS = 2000, 20
"""Units, and units a worker, of the beginning of a long job that is run."""


class Interval(Contract):
    """Of nine runs in ten, and the middle one."""

    low: float
    median: float
    high: float


class Simulated(Contract):
    farm: SimulatedFarm
    seeds: int = Field(ge=1)
    simulated_units: int
    """Fewer than the job has: the rest is reckoned from them."""
    hours: Interval
    worker_hours: Interval
    """Of all render workers, whether they had work or not."""
    cost: Interval | None = None
    lost_workers: Interval
    lost_share: Interval
    """Of the workers' hours, spent on units that were begun again."""
    dead_units: Interval


def simulate_many(farm: SimulatedFarm, seeds: int, *, seed: int = 0, price_per_hour: float | None = None) -> Simulated:
    """Medians and intervals of 90 % over ``seeds`` runs, of which the n-th has seed ``seed + n``.

    Of a job of more than :func:`slice_of` units the beginning is run, once so far and once twice as far: the difference
    is the pace without the ramps at both ends. What comes after strays as so many independent slices would.
    """
    part = slice_of(farm)
    runs = [simulate(farm.model_copy(update={"units": part}), seed + number) for number in range(seeds)]
    if part < farm.units:
        longer = [simulate(farm.model_copy(update={"units": 2 * part}), seed + number) for number in range(seeds)]
        runs = _stretched(runs, longer, part, farm.units)
    workers = farm.render_workers
    paid = [outcome.seconds * workers / 3600 for outcome in runs]
    return Simulated(
        farm=farm,
        seeds=seeds,
        simulated_units=part if part == farm.units else 2 * part,
        hours=_interval([outcome.seconds / 3600 for outcome in runs]),
        worker_hours=_interval(paid),
        cost=None if price_per_hour is None else _interval([hours * price_per_hour for hours in paid]),
        lost_workers=_interval([float(outcome.lost_workers) for outcome in runs]),
        lost_share=_interval([_share(outcome, workers) for outcome in runs]),
        dead_units=_interval([float(outcome.dead) for outcome in runs]),
    )


def slice_of(farm: SimulatedFarm) -> int:
    """Units of the beginning that is run; the whole job if twice as many would be no fewer, or it has outages."""
    part = max(_SLICE, _ROUNDS * farm.render_workers)
    return farm.units if farm.outages or 2 * part >= farm.units else part


def _stretched(runs: Sequence[Outcome], longer: Sequence[Outcome], part: int, units: int) -> list[Outcome]:
    rest = (units - part) / part
    names = ("seconds", "committed", "dead", "sends", "lost_workers", "lost_seconds", "idle_seconds")
    steps = {name: [getattr(b, name) - getattr(a, name) for a, b in zip(runs, longer, strict=True)] for name in names}
    means = {name: sum(values) / len(values) for name, values in steps.items()}
    made = []
    for number, run in enumerate(runs):
        grown: dict[str, float] = {}
        for name in names:
            strays = (steps[name][number] - means[name]) * math.sqrt(rest)
            value = getattr(run, name) + rest * means[name] + strays
            grown[name] = value if name.endswith("seconds") else round(max(0.0, value))
        made.append(run.model_copy(update=grown))
    return made


def _share(outcome: Outcome, workers: int) -> float:
    return outcome.lost_seconds / (outcome.seconds * workers)


def _interval(values: Sequence[float]) -> Interval:
    ranked = sorted(values)

    def at(share: float) -> float:
        place = share * (len(ranked) - 1)
        below = int(place)
        above = min(below + 1, len(ranked) - 1)
        return ranked[below] + (place - below) * (ranked[above] - ranked[below])

    return Interval(low=at(0.05), median=at(0.5), high=at(0.95))
