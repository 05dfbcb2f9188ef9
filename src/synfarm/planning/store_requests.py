"""Requests to the object store a second, by process, from the counts of one unit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from synfarm.planning.asked import PlanAsked
from synfarm.planning.footprint import (
    BYTES,
    CAPTION_WORKER,
    FEEDER_FLAGS,
    FEEDER_FLAGS_SECONDS,
    FEEDER_UNIT,
    PREFETCH_MISSED,
    RENDER_WORKER,
    Asks,
)
from synfarm.planning.scale_plan import DatasetSize, Making, Requests, Training
from synfarm.planning.window import PASS_SECONDS

__all__ = ["GroupReads", "by_process", "training_reads", "wrong_guesses"]

_PAGE = 1000
"""Keys of a page of a listing."""
_PROGRESS_SECONDS = 5.0
_FAN = 4096
_SMALL = 1 << 20
"""Shards up to this size are read whole, whatever is needed of them."""


class GroupReads(NamedTuple):
    """What the ranks of a run ask for one caption of a batch."""

    gets: float
    bytes: float


def by_process(
    asked: PlanAsked, size: DatasetSize, making: Making, training: Sequence[Training]
) -> tuple[Requests, ...]:
    """A second, at the likely rates, while a job is in the middle of its life."""
    pace = making.units_per_second
    rows = {
        "caption-worker": CAPTION_WORKER.times(pace),
        "render-worker": RENDER_WORKER.times(pace).plus(Asks(get=wrong_guesses(making))),
        "feeder": _feeder(making),
    }
    for run in training:
        captions = run.images_per_second * asked.captions * run.epochs / run.images
        rows[f"trainer {run.preset}"] = Asks(
            get=captions * training_reads(asked, size).gets, put=1 / run.checkpoint_seconds
        )
    return tuple(
        Requests(process=name, put=asks.put, get=asks.get, head=asks.head, list=asks.list)
        for name, asks in rows.items()
    )


def wrong_guesses(making: Making) -> float:
    """Captions a second that render workers read ahead and other workers draw.

    One of W workers is right with each W-th guess, which pays for the next; a unit that it had not guessed pays for
    less. So r guesses a unit are r = r / W + (1 - r / W) missed.
    """
    pace, workers = making.units_per_second, max(1.0, making.render_gpus)
    guesses = PREFETCH_MISSED / (1 - (1 - PREFETCH_MISSED) / workers)
    return pace * guesses * (1 - 1 / workers)


def _feeder(making: Making) -> Asks:
    passes = 1 / PASS_SECONDS
    pages = -(-making.units_in_flight // _PAGE)
    folders = 1 + making.units_in_flight / _FAN
    each_pass = Asks(list=1 + pages + folders).times(passes)
    parts = Asks(put=2 / _FAN).times(making.units_per_second)
    rest = Asks(put=1 / _PROGRESS_SECONDS).plus(FEEDER_FLAGS.times(1 / FEEDER_FLAGS_SECONDS))
    return FEEDER_UNIT.times(making.units_per_second).plus(each_pass).plus(parts).plus(rest)


def training_reads(asked: PlanAsked, size: DatasetSize, *, whole: bool = False) -> GroupReads:
    """Ranges, or whole shards where that is worth it (the trainer's ``ReadRule``); and the commits that tell of them.

    Every rank opens the commits of the shards of which it takes a caption; a batch spreads a shard's captions over the
    ranks by chance.

    Args:
        whole: a run with ``data.fetch_threads`` 0, whose nodes each read every shard whole.
    """
    unit, ranks = size.captions_per_unit, asked.train_gpus
    group = size.shard_bytes / asked.captions
    shard = unit * group
    nodes = -(-ranks // asked.gpus_per_node)
    if whole or shard <= _SMALL or nodes < 2:
        reads, read = nodes / unit, nodes * group
    else:
        reads, read = 1.0, group
    meeting = ranks * (1 - (1 - 1 / ranks) ** unit) / unit if ranks > 1 else 1 / unit
    commit = BYTES.commit + unit * BYTES.group
    return GroupReads(reads + meeting, read + meeting * commit)
