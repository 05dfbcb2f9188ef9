"""Ranks that are threads of one process, for gradients that must not depend on how many there are."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pytest
import torch
from torch import Tensor

from synfarm_trainer.ranks import Ranks

# What lies beside the tests, and the slow references of the losses, can be imported by their names.
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "losses")]

T = TypeVar("T")


@dataclass
class Meeting:
    """What so many threads exchange."""

    world: int
    told: list[Tensor | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.told, self.barrier = [None] * self.world, threading.Barrier(self.world)


@dataclass(frozen=True)
class ThreadRanks(Ranks):
    """Ranks that are threads of this process."""

    meeting: Meeting | None = None

    def gather(self, rows: Tensor) -> Tensor:
        return torch.cat(self._exchange(rows.detach()))

    def sum_own(self, rows: Tensor) -> Tensor:
        return torch.stack([part.chunk(self.world)[self.rank] for part in self._exchange(rows)]).sum(dim=0)

    def _exchange(self, rows: Tensor) -> list[Tensor]:
        assert self.meeting is not None
        self.meeting.told[self.rank] = rows
        self.meeting.barrier.wait(30)
        found = [part for part in self.meeting.told if part is not None]
        self.meeting.barrier.wait(30)
        return found


def _on_ranks(world: int, work: Callable[[Ranks], T]) -> list[T]:
    meeting = Meeting(world)
    ranks = [ThreadRanks(rank, world, meeting) if world > 1 else Ranks() for rank in range(world)]
    with ThreadPoolExecutor(world) as pool:
        return list(pool.map(work, ranks))


@pytest.fixture
def on_ranks() -> Callable[..., list[object]]:
    """(world, work) to what ``work(ranks)`` returns on each rank, in rank order."""
    return _on_ranks
