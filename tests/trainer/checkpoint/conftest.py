"""Several ranks of one run in this process: they meet in the store alone, as real ones do."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.runs import CheckpointCommit, RunAttempt
from synfarm.storage.memory import MemoryStore
from synfarm_trainer.checkpoint import CheckpointStore, Keep, Saver
from synfarm_trainer.ranks import Ranks
from synfarm_trainer.shares import share_of
from synfarm_trainer.state import counters

RUN = "01hzzzzzzzzzzzzzzzzzzzzzz1"
TOKEN = "01hzzzzzzzzzzzzzzzzzzzzzz2"


def state_at(step: int) -> dict[str, Tensor]:
    """Tensors of several sizes and types, others at each step."""
    made = torch.Generator().manual_seed(step)
    return {
        "student.weight": torch.randn(64, 32, generator=made),
        "student.bias": torch.randn(32, generator=made),
        "student.seen": torch.tensor(step),
        "teacher.weight": torch.randn(64, 32, generator=made).to(torch.bfloat16),
        "teacher.center": torch.randn(5, generator=made, dtype=torch.float64),
        "optimizer.exp_avg.weight": torch.randn(64, 32, generator=made),
        "optimizer.step.weight": torch.tensor(float(step)),
        "optimizer.exp_avg.nothing": torch.zeros(0, 3),
    }


class Group:
    """The ranks of one attempt."""

    def __init__(self, store: MemoryStore, attempt: int, world: int, keep: Keep, reach: Any) -> None:
        self.stores = [CheckpointStore(store, RUN, attempt, TOKEN, reach) for _ in range(world)]
        self.savers = [Saver(of, Ranks(rank, world), keep) for rank, of in enumerate(self.stores)]
        self.world = world
        token = RunAttempt(run=RUN, number=attempt, token=TOKEN, started_at=utc_now(), host="test")
        store.create(layout.attempt(RUN, attempt), token.to_bytes())

    def save(self, step: int, *, ranks: list[int] | None = None, state: dict[str, Tensor] | None = None) -> None:
        """Begin one on each of ``ranks``, all of them by default."""
        for rank in range(self.world) if ranks is None else ranks:
            share = share_of(state_at(step) if state is None else state, rank, self.world)
            self.savers[rank].save(step, share, counters(refilled=step), time.perf_counter())

    def drain(self) -> list[CheckpointCommit]:
        for saver in self.savers[1:]:
            assert saver.drain() == [], "the first rank alone commits"
        return self.savers[0].drain()


@pytest.fixture
def group() -> Any:
    """(store, attempt, world, keep, reach) to the ranks of an attempt that has begun."""
    begun: list[Group] = []

    def begin(
        store: MemoryStore,
        attempt: int = 0,
        *,
        world: int = 1,
        keep: Keep | None = None,
        reach: Callable[[str, int], None] = lambda point, step: None,
    ) -> Group:
        begun.append(Group(store, attempt, world, keep or Keep(), reach))
        return begun[-1]

    yield begin
    for one in begun:
        for saver in one.savers:
            saver.close()


@pytest.fixture
def state() -> Callable[[int], dict[str, Tensor]]:
    return state_at
