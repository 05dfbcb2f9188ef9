"""Which groups of which shards the next steps of a rank need."""

from __future__ import annotations

from collections.abc import Iterator

from synfarm.contracts.commits import GroupRow, ShardRef
from synfarm_trainer.data.course import Course
from synfarm_trainer.data.manifest import Dataset
from synfarm_trainer.data.plan import Plan

__all__ = ["Upcoming"]


class Upcoming:
    """By step, as the plan says."""

    def __init__(self, dataset: Dataset, plan: Plan | Course, share: slice) -> None:
        """``share``: what this rank takes of each batch."""
        self._dataset, self._plan, self._share = dataset, plan, share

    def __call__(self, step: int) -> Iterator[tuple[ShardRef, GroupRow]]:
        dataset = self._dataset
        for row in self._plan.batch(step)[self._share].tolist():
            yield dataset.shards[dataset.shard_of[row]], dataset.rows[row]
