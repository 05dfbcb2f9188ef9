"""From a run's segments to what is to be read and in which order: pure, given the dataset that was read.

Rows never change their place: what a segment adds comes behind all that was there. A caption that is held out or
trained on stays so, for each addition holds out its own share, stratified by concept within itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from synfarm.contracts.segments import RunSegment
from synfarm_trainer.config import DataConfig
from synfarm_trainer.data.course import Course, Leg, Standing, Stream
from synfarm_trainer.data.manifest import Dataset, DatasetInvalid, Increment
from synfarm_trainer.data.mixture import Shares
from synfarm_trainer.data.plan import Plan
from synfarm_trainer.data.table import Derived, GroupTable, least_unsigned
from synfarm_trainer.refusal import RunRefused

__all__ = ["course_of", "increments_of", "part_of"]

_CHUNK = 1 << 20
"""Rows copied at a time: of 150 million the numbers alone would be a gigabyte."""


def _additions(segments: Sequence[RunSegment]) -> list[tuple[int, int]]:
    """(segment, dataset) of every addition, in the order in which they are read."""
    return [(n, place) for n, segment in enumerate(segments) for place, of in enumerate(segment.datasets) if of.added]


def increments_of(segments: Sequence[RunSegment]) -> list[Increment]:
    """All that the segments read, each part once, in the order of the rows."""
    found = []
    for n, place in _additions(segments):
        dataset = segments[n].datasets[place]
        found.append(Increment(dataset.job, dataset.generation, dataset.added))
    return found


def course_of(
    segments: Sequence[RunSegment], dataset: Dataset, seed: int, config: DataConfig, *, draft: bool = False
) -> Course:
    """The order of all segments.

    Args:
        segments: those that begin something, in order.
        dataset: read from :func:`increments_of` them.
        draft: the numbers of groups that the last segment tells do not count yet.

    Raises:
        RunRefused: a stream has fewer captions than a batch may take of it.
        DatasetInvalid: there are not the captions that a segment tells of.
    """
    leg = partial(_leg, segments, dataset, seed, config)
    course = Course(
        dataset.table,
        seed,
        [segment.position for segment in segments],
        leg,
        [sum(stream.groups for stream in segment.streams) for segment in segments],
        captions_per_batch=config.captions_per_batch,
        cell_captions=config.cell_captions,
    )
    told = [stream.groups for stream in segments[-1].streams]
    found = [stream.groups for stream in course.last.streams]
    if told != found and not draft:
        raise DatasetInvalid(
            f"segment {segments[-1].number}: its streams have {found} training captions, not the {told} that were "
            "there when it was written"
        )
    return course


def _leg(segments: Sequence[RunSegment], dataset: Dataset, seed: int, config: DataConfig, number: int) -> Leg:
    segment = segments[number]
    sources = np.array(dataset.sources, dtype=np.int64)[: dataset.table.shards]
    known = [(n, place) for n, place in _additions(segments) if n <= number]
    shares = Shares(tuple(stream.weight for stream in segment.streams))
    streams = []
    for stream, most in zip(segment.streams, shares.most_in(config.captions_per_batch), strict=True):
        mine = [at for at, (_, place) in enumerate(known) if place in stream.datasets]
        part, rows = part_of(dataset.table, np.flatnonzero(np.isin(sources, mine)), sources)
        plan = Plan(part, seed, 0, config.block_shards, config.held_out, config.cell_captions)
        if plan.groups < most:
            raise RunRefused(_too_few(segment, stream.datasets, most, plan))
        streams.append(Stream(plan, rows, Standing(stream.epoch, stream.offset)))
    return Leg(segment.position, shares, tuple(streams))


def part_of(table: GroupTable, shards: NDArray[np.int64], strata: NDArray[np.int64]) -> tuple[GroupTable, Derived]:
    """The groups of some shards, rising, as a table of their own, and the row in the whole of each of its rows.

    Args:
        strata: (S,) a number of each shard of the whole: a concept's groups are held out by their share in each.

    Returns:
        A table whose concepts are the pairs of stratum and concept.
    """
    sizes = np.diff(table.starts)[shards]
    starts = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(sizes, dtype=np.int64)])
    shift = table.starts[shards] - starts[:-1]
    rows = Derived(int(starts[-1]), lambda at: at + shift[np.searchsorted(starts, at, side="right") - 1])
    names = int(table.concept.max(initial=0)) + 1
    offset = np.empty(len(rows), dtype=table.offset.dtype)
    concept = np.empty(len(rows), dtype=least_unsigned(names * (int(strata.max(initial=0)) + 1)))
    for begin in range(0, len(rows), _CHUNK):
        piece = slice(begin, min(begin + _CHUNK, len(rows)))
        at = rows[piece]
        offset[piece] = table.offset[at]
        concept[piece] = table.concept[at] + names * strata[table.shard[at]]
    found = GroupTable(
        jobs=table.jobs,
        shard_job=table.shard_job[shards],
        base=table.base[shards],
        starts=starts,
        offset=offset,
        concept=concept,
    )
    return found, rows


def _too_few(segment: RunSegment, places: tuple[int, ...], most: int, plan: Plan) -> str:
    there = f"{plan.groups} training captions ({len(plan.table)} less the held-out ones)"
    if len(segment.streams) == 1:
        return (
            f"data.captions_per_batch: {most} captions do not fit the {there} that the dataset has so far; lower it or "
            "begin when more are there"
        )
    jobs = ", ".join(segment.datasets[place].job for place in places)
    return (
        f"weights: a batch takes up to {most} captions of job {jobs}, which has {there}; lower its weight or "
        "data.captions_per_batch"
    )
