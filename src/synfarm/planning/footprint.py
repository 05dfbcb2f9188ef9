"""What the code really does for one unit, one caption, one pass: counted and weighed, not guessed.

Each of these is held against the code itself by a test in tests/planning, which runs the part and counts: a change
that makes a process ask the store once more is noticed there.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

__all__ = [
    "A_RUN",
    "BYTES",
    "CAPTION_WORKER",
    "FEEDER_CPU",
    "FEEDER_FLAGS",
    "FEEDER_FLAGS_SECONDS",
    "FEEDER_UNIT",
    "PREFETCH_MISSED",
    "REDIS_CLAIMED",
    "REDIS_FAN",
    "REDIS_UNIT",
    "RENDER_WORKER",
    "TOKENS_A_DRAW",
    "TRAINERS",
    "Asks",
    "Networks",
]


class Asks(NamedTuple):
    """Requests to the object store."""

    put: float = 0
    get: float = 0
    head: float = 0
    list: float = 0

    def times(self, factor: float) -> Asks:
        return Asks(*(factor * count for count in self))

    def plus(self, other: Asks) -> Asks:
        return Asks(*(a + b for a, b in zip(self, other, strict=True)))


CAPTION_WORKER = Asks(put=1, get=1, head=3)
"""A unit: is it active, is it committed, are there captions; the tombstone; the JSONL."""
RENDER_WORKER = Asks(put=2, get=1, head=4)
"""A unit: is it active, is it committed, its captions; the shard, twice; the tombstone; the commit."""
FEEDER_UNIT = Asks(get=2)
"""A unit: its commit and its captions, when it is counted."""
FEEDER_FLAGS, FEEDER_FLAGS_SECONDS = Asks(head=3), 10.0
"""A job's pause, cancel and tombstone: once in so many seconds, whoever asks."""
FEEDER_CPU = 30e-6
"""Seconds of its core that the feeder takes for one caption of a unit that it counts."""
PREFETCH_MISSED = 0.25
"""Captions that a render worker may read ahead of their claim for each unit that it had not read ahead: with many
workers at one queue another one draws nearly all of them."""

REDIS_UNIT = 1500
"""Bytes of a unit in flight while its message waits: the message, what was sent, and how often."""
REDIS_CLAIMED = 640
"""Bytes of one that a worker has: its message is gone, a claim and a lease are there."""
REDIS_FAN = 3300
"""Bytes of the three bitmaps of 4,096 units, above the watermark, at most."""


class _Bytes(NamedTuple):
    captions: float
    """JSONL of one caption."""
    commit: float
    """A commit, but for its groups."""
    group: float
    """A group in a commit, with four images."""
    line: float
    """A unit in a part of the manifest."""
    columns_unit: float
    """A unit in the columns of a part."""
    columns_group: float
    """A group in the columns of a part, scores included."""
    read_unit: float
    """What a run reads of a unit at its start."""
    read_group: float
    """What it reads of a group, if it filters by no score."""
    names: float
    """The names of concepts in a part: each has nearly all of them."""
    part: float
    """A part in the end record."""


BYTES = _Bytes(
    captions=510,
    commit=560,
    group=740,
    line=260,
    columns_unit=88,
    columns_group=28 + 1 + 8,  # more concepts than 256; and the score `second`, which a plain list has not
    read_unit=48,
    read_group=3 + 1,
    names=15_066 * 17,  # of the variant `ours`
    part=380,
)


class _Tokens(NamedTuple):
    prompt: float
    new: float


TOKENS_A_DRAW = _Tokens(prompt=85, new=14)
"""Of one generation, by SmolLM2's tokens: 3,000 prompts of the variant `ours`, and the captions of their examples
(2026-11-29), which a model's own follow."""


class Networks(NamedTuple):
    """A preset of the trainer: what one run of it takes."""

    steps: int
    captions: int
    """Of a batch."""
    views: int
    gflops: float
    """Of one image of the batch: all its crops, student and teacher, heads and losses (synfarm_trainer.flops)."""
    checkpoint: int
    """Bytes of one checkpoint."""
    every: int
    """Steps between checkpoints."""


TRAINERS: Mapping[str, Networks] = MappingProxyType(
    {
        "synclr-b16-paper": Networks(500_000, 8192, 4, 217.64, 2_104_245_248, 1000),
        "synclr-l14-paper": Networks(500_000, 8192, 4, 856.31, 5_607_495_680, 1000),
        "table4-all": Networks(85_000, 2048, 4, 217.52, 2_104_245_248, 1000),
    }
)


class _Run(NamedTuple):
    group_memory: float
    """Bytes that the plan of a run holds of a caption, in each rank."""
    load_cpu: float
    """Seconds of one core to load the columns of a caption."""


A_RUN = _Run(group_memory=1_120e6 / 150e6, load_cpu=3.85 / 150e6)
"""`python benchmarks/bench_plan.py`, 150 million captions (docs/measurements.md, 2026-11-29)."""
