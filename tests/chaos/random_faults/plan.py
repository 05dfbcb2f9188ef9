"""Which faults fall, in which order and how fast: a pure function of the seed."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

__all__ = ["Pace", "Planned", "draw_faults"]


@dataclass(frozen=True, slots=True)
class Pace:
    """How long things take in an edition of the suite; seconds."""

    between: tuple[float, float]
    """Least and longest pause between two faults."""
    lease: float
    """A dead worker's unit is free after this."""
    lock: float
    """Another replica leads after this."""
    read_timeout: float
    """Of one request to the store."""
    away: float
    """How long the store stays away."""
    weather: tuple[float, float]
    """How long the store's answers are bad."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One fault to come."""

    seed: int
    number: int
    kind: str

    def chance(self) -> random.Random:
        """Where the fault takes its own choices from: its victim, its duration."""
        return random.Random(f"{self.seed}/fault/{self.number}")


def draw_faults(seed: int, kinds: Sequence[str]) -> Iterator[Planned]:
    """Round after round, without end: each has every kind once, in an order of its own."""
    numbers = itertools.count()
    for turn in itertools.count():
        order = sorted(kinds)
        random.Random(f"{seed}/round/{turn}").shuffle(order)
        for kind in order:
            yield Planned(seed, next(numbers), kind)
