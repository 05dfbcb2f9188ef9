"""What a run trains on: one frozen dataset, or one that its segments tell of."""

from __future__ import annotations

from functools import partial
from typing import Protocol

from synfarm.contracts.runs import RunAttempt, RunSpec
from synfarm.contracts.segments import RunSegment
from synfarm.storage.protocol import ObjectStore
from synfarm_trainer.config import TrainConfig
from synfarm_trainer.data.course import Course
from synfarm_trainer.data.manifest import Dataset, load_dataset
from synfarm_trainer.data.plan import Plan
from synfarm_trainer.following import SegmentedData
from synfarm_trainer.ranks import Ranks

__all__ = ["RunData", "open_data"]

_COMMITS = 1024
"""Commits held at least: those of the shards that may be fetched ahead. Of 64 captions one takes about 50 kB."""


class RunData(Protocol):
    """Dataset and order; all ranks call the methods in the same order."""

    @property
    def dataset(self) -> Dataset: ...

    @property
    def plan(self) -> Plan | Course: ...

    @property
    def opened(self) -> RunSegment | None:
        """A segment that this start has begun with: a user has changed the weights."""

    def next_look(self, step: int) -> int:
        """The step from ``step`` on before which :meth:`look` must be called, or the number of steps."""

    def look(self) -> RunSegment | None:
        """Take in what has come; dataset and plan are others if it returns a segment."""


class _WholeData:
    """All that the run ever reads."""

    opened = None

    def __init__(self, dataset: Dataset, plan: Plan, steps: int) -> None:
        self.dataset, self.plan, self._steps = dataset, plan, steps

    def next_look(self, step: int) -> int:
        return self._steps

    def look(self) -> RunSegment | None:
        return None


def open_data(store: ObjectStore, spec: RunSpec, config: TrainConfig, attempt: RunAttempt, ranks: Ranks) -> RunData:
    """
    Raises:
        DatasetInvalid: what the run names is not there.
        ValueError: a batch takes more captions than there are.
        Fenced: a newer start has begun.
        StoreError: an object is away.
    """
    data = config.data
    load = partial(
        load_dataset,
        store,
        views=data.views,
        drop_near_duplicates=data.drop_near_duplicates,
        min_scores=data.min_scores,
        max_scores=data.max_scores,
        concepts=data.concepts,
        templates=data.templates,
        commits=max(4 * data.block_shards * max(1, len(spec.weights)), _COMMITS),
        # Some bytes a caption group, so that what comes is read and not all over again.
        known={} if spec.follow else None,
    )
    if spec.follow or spec.weights:
        return SegmentedData(store, spec, config, attempt, ranks, load)
    dataset = load(spec.datasets)
    plan = Plan(dataset.table, spec.seed, data.captions_per_batch, data.block_shards, data.held_out, data.cell_captions)
    return _WholeData(dataset, plan, config.schedule.steps)
