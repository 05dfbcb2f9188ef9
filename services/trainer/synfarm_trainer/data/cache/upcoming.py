"""Which groups of which shards the next steps of a rank need."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np

from synfarm.contracts.commits import GroupRow, ShardRef
from synfarm_trainer.data.cache.proven import DatasetDamaged
from synfarm_trainer.data.course import Course
from synfarm_trainer.data.manifest import Dataset
from synfarm_trainer.data.plan import Plan

__all__ = ["Upcoming"]

_LEAD = 8
"""Steps by which commits are opened before the groups in them are named."""
_OPENERS = 4


class Upcoming:
    """By step, as the plan says.

    Where groups lie their shards' commits tell, which are read when they are first asked for: here some steps ahead,
    in threads, so that whoever asks need not wait for the store.
    """

    def __init__(self, dataset: Dataset, plan: Plan | Course, share: slice) -> None:
        """``share``: what this rank takes of each batch."""
        self._dataset, self._plan, self._share = dataset, plan, share
        self._pool = ThreadPoolExecutor(_OPENERS, thread_name_prefix="commits")
        self._opened: tuple[int, int] = (0, 0)
        """The steps whose commits were asked for last: from, to (not included)."""
        self._damaged: set[int] = set()
        """Shards whose commits are: their readers are told, when it is their turn."""

    def go_on_with(self, dataset: Dataset, plan: Plan | Course) -> None:
        """From now on steps are of these."""
        self._dataset, self._plan, self._opened = dataset, plan, (0, 0)
        self._damaged.clear()

    def close(self) -> None:
        """Open no more. The dataset is to be closed first, so that nobody waits for a commit."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def __call__(self, step: int) -> Iterator[tuple[ShardRef, GroupRow]]:
        self._open(step)
        dataset = self._dataset
        for row in self._plan.batch(step)[self._share].tolist():
            shard = int(dataset.shard_of[row])
            if shard in self._damaged:
                continue
            try:
                named = dataset.shards[shard], dataset.rows[row]
            except DatasetDamaged:
                self._damaged.add(shard)
                continue
            yield named

    def _open(self, step: int) -> None:
        if self._dataset.shelf is None:
            return
        begun, ended = self._opened
        wanted = range(ended if begun <= step <= ended else step, step + _LEAD)
        self._opened = (step, step + _LEAD)
        for of in wanted:
            rows = self._plan.batch(of)[self._share]
            for shard in np.unique(self._dataset.table.shard[rows]).tolist():
                self._pool.submit(_try_opening, self._dataset, shard)


def _try_opening(dataset: Dataset, shard: int) -> None:
    # Whoever needs the shard is told the same, and decides what becomes of the run.
    with suppress(Exception):
        dataset.shards[shard]
