"""Where a farm or a run breaks first, and what is to be done then."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from synfarm.contracts.ids import MAX_UNIT
from synfarm.planning.asked import PlanAsked
from synfarm.planning.cited import LIST_SECONDS, S3_READS, S3_WRITES
from synfarm.planning.footprint import FEEDER_CPU
from synfarm.planning.scale_plan import DatasetSize, Limit, Making, Requests, Training
from synfarm.planning.store_requests import wrong_guesses
from synfarm.planning.window import PASS_SECONDS, READERS, READS, WINDOW_MAX

__all__ = ["limits_of"]

_GET_SECONDS = 0.01
"""Of one small object in the same network: our assumption."""
_NODE_BYTES = 10e9 / 8
_RANK_MEMORY = 16e9
_REDIS_BYTES = 1e9
_STORE_BYTES = 1e9


def limits_of(
    asked: PlanAsked, size: DatasetSize, making: Making, training: Sequence[Training], requests: Sequence[Requests]
) -> tuple[Limit, ...]:
    """The nearest first."""
    found = [*_feeder(making), *_store(making, requests), *_sizes(size, making)]
    reads = {row.process.removeprefix("trainer "): row.get for row in requests}
    for run in training:
        found += _run(asked, run, reads[run.preset])
    return tuple(sorted(found, key=lambda limit: -limit.share))


def _limit(what: str, planned: float, bound: float, unit: str, then: str, source: str) -> Limit:
    return Limit(what=what, planned=planned, bound=bound, unit=unit, share=planned / bound, then=then, source=source)


def _feeder(making: Making) -> Iterator[Limit]:
    yield _limit(
        "window",
        making.units_wanted,
        WINDOW_MAX,
        "units",
        "render workers idle between units though captions could be written: raise SYNFARM_FEEDER_WINDOW_MAX "
        "(and SYNFARM_FEEDER_SPAN with it), or take larger units",
        "FeederSettings.window_max",
    )
    unit = 2 * _GET_SECONDS / READERS + FEEDER_CPU * making.captions_per_unit
    yield _limit(
        "feeder",
        making.units_per_second,
        READS / (PASS_SECONDS + READS * unit),
        "units/s",
        "commits wait to be counted and the window fills with what is done: larger units (fewer commits), or several "
        "jobs' captions in larger units each; one feeder leads, replicas only stand by",
        f"{READS} commits a pass, two reads of {_GET_SECONDS * 1000:g} ms each by {READERS} threads (assumed), "
        f"{FEEDER_CPU * 1e6:.0f} µs of its core a caption (22 measured for reading its row, the rest assumed)",
    )
    pages = 2 + -(-making.units_in_flight // 1000)
    yield _limit(
        "listing of a pass",
        pages * LIST_SECONDS.value.likely,
        PASS_SECONDS * 10,
        "s",
        "passes come late, so that workers wait for units: a store that lists faster; a pass lists the window alone, "
        "never the job",
        f"a pass of ten times its pause; {LIST_SECONDS.source}",
    )


def _store(making: Making, requests: Sequence[Requests]) -> Iterator[Limit]:
    making_rows = [row for row in requests if not row.process.startswith("trainer")]
    yield _limit(
        "store: writes while the job runs",
        sum(row.put for row in making_rows),
        S3_WRITES.value.likely,
        "1/s",
        "503 and slower commits, which workers wait out: larger units",
        S3_WRITES.source,
    )
    guesses = wrong_guesses(making)
    yield _limit(
        "store: reads while the job runs",
        sum(row.get + row.head for row in making_rows),
        S3_READS.value.likely,
        "1/s",
        f"503 and slower claims, which workers wait out ({guesses:,.1f} of them a second are captions that a render "
        "worker reads ahead and another one draws): larger units",
        S3_READS.source,
    )


def _sizes(size: DatasetSize, making: Making) -> Iterator[Limit]:
    yield _limit(
        "Redis memory",
        making.redis_bytes,
        _REDIS_BYTES,
        "bytes",
        "with noeviction writes are refused and jobs stall: lower SYNFARM_FEEDER_WINDOW_MAX, or more memory",
        "1 GB: the smallest machine that one would give it",
    )
    yield _limit(
        "units of a job",
        size.units,
        MAX_UNIT,
        "units",
        "the job is refused: larger units, or several jobs trained on together",
        "MAX_UNIT: eight digits in the keys",
    )


def _run(asked: PlanAsked, run: Training, reads: float) -> Iterator[Limit]:
    name = run.preset
    yield _limit(
        f"{name}: reads of the store",
        reads,
        S3_READS.value.likely,
        "1/s",
        "steps wait for data, or the store answers 503. Several nodes read one range a caption, and every rank a "
        "commit a shard: fewer and faster GPUs, a store that spreads a job's folders over partitions, or larger units "
        "(--captions-per-unit 240) and whole shards (data.fetch_threads=0), which each node then reads all",
        S3_READS.source,
    )
    nodes = -(-run.gpus // asked.gpus_per_node)
    yield _limit(
        f"{name}: network of a node",
        run.read_bytes_per_second / nodes,
        _NODE_BYTES,
        "bytes/s",
        "steps wait for data: a disk cache that holds the set from the second epoch on (data.cache_disk_mib), smaller "
        "images, or a faster network",
        "10 Gbit/s a node",
    )
    yield _limit(
        f"{name}: memory of the plan",
        run.rank_memory_bytes,
        _RANK_MEMORY,
        "bytes/rank",
        "every rank holds the table of all captions: fewer ranks a node, or fewer captions a run",
        "16 GB a rank: an eighth of a node with 128 GB",
    )
    yield _limit(
        f"{name}: reading the manifest at the start",
        run.start_read_bytes / _STORE_BYTES,
        600,
        "s",
        "every rank reads every column: a start takes longer than the ranks wait for each other; fewer ranks, or a "
        "faster store",
        "ten minutes at 1 GB/s from the store (assumed)",
    )
    yield _limit(
        f"{name}: checkpoints",
        run.checkpoint_bytes / _STORE_BYTES,
        run.checkpoint_seconds,
        "s",
        "a checkpoint is not up when the next is due: raise checkpoint.every_steps",
        "the time between two, 1 GB/s to the store (assumed)",
    )
