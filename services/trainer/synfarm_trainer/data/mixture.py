"""Which of several datasets has each position of the sequence that they share by weights, without any state.

Weights are whole numbers ``w`` of sum ``W``. One period of ``W`` positions is laid out once: position by position, the
dataset whose next item is due first among those that may go on (earliest deadline first). Item ``j`` of a dataset may
come at the earliest at position ``floor(j W / w)`` and must come before ``ceil((j + 1) W / w)``. That some order meets
all of these bounds is Tijdeman's theorem on the chairman assignment problem (1980), and earliest deadline first finds
one where one exists. So the promise is exact: **after n positions each dataset has had the floor or the ceiling of its
share n w / W**, for any number of datasets, and exactly its share after each period. Everything else is arithmetic: a
position is a period and a slot in it.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

__all__ = ["LONGEST_PERIOD", "Shares", "whole_weights"]

Ints = NDArray[np.int64]
LONGEST_PERIOD = 100_000
"""Bound of ``W``: a layout of that length takes a tenth of a second and two megabytes."""


def whole_weights(weights: Sequence[float]) -> tuple[int, ...]:
    """The smallest whole numbers in the ratio of the weights as they are written in decimals.

    Raises:
        ValueError: a weight is not positive and finite, or the numbers add up to more than ``LONGEST_PERIOD``.
    """
    if not weights or not all(math.isfinite(weight) and weight > 0 for weight in weights):
        raise ValueError("weights: must be positive numbers; leave out a job that is to have none")
    exact = [Fraction(repr(float(weight))) for weight in weights]
    scale = math.lcm(*(item.denominator for item in exact))
    whole = [int(item * scale) for item in exact]
    common = math.gcd(*whole)
    found = tuple(item // common for item in whole)
    if sum(found) > LONGEST_PERIOD:
        raise ValueError(
            f"weights: as whole numbers they add up to {sum(found)}, more than {LONGEST_PERIOD}; write them with fewer "
            "digits"
        )
    return found


@dataclass(frozen=True)
class Shares:
    """A sequence without end that datasets share; all places are numbers from 0."""

    weights: tuple[int, ...]
    """Of each dataset, positive."""

    @property
    def period(self) -> int:
        """Positions after which each dataset has had exactly its weight."""
        return sum(self.weights)

    @cached_property
    def _layout(self) -> Ints:
        """(period,): the dataset of each slot."""
        total = self.period
        coming = [(0, dataset, 0) for dataset in range(len(self.weights))]
        due: list[tuple[int, int, int]] = []
        found = np.empty(total, dtype=np.int64)
        for slot in range(total):
            while coming and coming[0][0] <= slot:
                _, dataset, item = heapq.heappop(coming)
                deadline = -(-(item + 1) * total // self.weights[dataset])
                heapq.heappush(due, (deadline, dataset, item))
            _, dataset, item = heapq.heappop(due)
            found[slot] = dataset
            if item + 1 < self.weights[dataset]:
                heapq.heappush(coming, ((item + 1) * total // self.weights[dataset], dataset, item + 1))
        return found

    @cached_property
    def _slots(self) -> tuple[Ints, ...]:
        """Of each dataset the slots that it has in a period, rising."""
        return tuple(np.flatnonzero(self._layout == dataset) for dataset in range(len(self.weights)))

    @cached_property
    def _items(self) -> Ints:
        """(period,): the how manieth of its dataset each slot is."""
        found = np.empty(self.period, dtype=np.int64)
        for slots in self._slots:
            found[slots] = np.arange(len(slots))
        return found

    def locate(self, positions: Ints) -> tuple[Ints, Ints]:
        """(n,) positions to the dataset of each and its place in that dataset's own sequence, (n,) both."""
        periods, slots = np.divmod(positions, self.period)
        datasets = self._layout[slots]
        return datasets, periods * np.array(self.weights, dtype=np.int64)[datasets] + self._items[slots]

    def count(self, dataset: int, positions: int) -> int:
        """How many of the first ``positions`` are the dataset's."""
        periods, slot = divmod(positions, self.period)
        return periods * self.weights[dataset] + int(np.searchsorted(self._slots[dataset], slot))

    def position(self, dataset: int, place: int) -> int:
        """The position of a place in a dataset's own sequence: the inverse of :meth:`locate`."""
        periods, item = divmod(place, self.weights[dataset])
        return periods * self.period + int(self._slots[dataset][item])

    def most_in(self, positions: int) -> tuple[int, ...]:
        """Of each dataset a bound of what it has of any so many positions in a row: its share, rounded up, and one."""
        return tuple(min(positions, -(-positions * weight // self.period) + 1) for weight in self.weights)
