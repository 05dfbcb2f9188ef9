"""How long a run waits for its data set, and what it holds in memory, at the size of the paper's: 150 million captions.

Columns are written to a folder as the feeder writes them, 4,096 units of 64 captions a part, with one score: 2.3 GB in
a temporary folder, gone at the end. Commits and shards are not there: nothing before the first batch needs them. A
process of its own then loads them, with and without a filter by the score, and plans batches; the libraries are in its
peak of memory too. Processor time is told beside the clock, because other processes lengthen the clock alone.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from rich.console import Console
from rich.table import Table

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.columns import ColumnsRef
from synfarm.contracts.jobs import JobState
from synfarm.contracts.manifests import Counts, Ended, ManifestPart, manifest_hash
from synfarm.contracts.runs import DatasetRef
from synfarm.storage.columns_file import Column, write_columns
from synfarm_trainer.data.manifest import load_dataset
from synfarm_trainer.data.plan import Plan

T = TypeVar("T")
_JOB, _UNIT, _IMAGES = "01hzzzzzzzzzzzzzzzzzzzzzz0", 64, 4
_TYPES = {"u1": "U8", "u2": "U16", "u4": "U32", "u8": "U64", "i8": "I64", "f8": "F64"}


class Folder:
    """As much of an object store as loading needs, on files."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, key: str, data: bytes) -> None:
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def get(self, key: str) -> bytes:
        return (self.root / key).read_bytes()

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        with (self.root / key).open("rb") as file:
            return os.pread(file.fileno(), length, offset)


def _column(values: np.ndarray[Any, Any]) -> Column:
    return Column(_TYPES[values.dtype.str[1:]], values.shape, values.tobytes())


def _part(store: Folder, number: int, units: int, concepts: int) -> ManifestPart:
    draw = np.random.default_rng(number)
    first_unit, groups = number * layout.FAN, units * _UNIT
    places = np.arange(first_unit, first_unit + units)
    columns = {
        "unit.number": places.astype(np.uint32),
        "unit.groups": np.full(units, _UNIT, dtype=np.uint32),
        "unit.first": places.astype(np.int64) * _UNIT,
        "unit.size": np.full(units, 10_000_000, dtype=np.uint64),
        "unit.shard_sha256": draw.integers(0, 256, (units, 32), dtype=np.uint8),
        "unit.commit_sha256": draw.integers(0, 256, (units, 32), dtype=np.uint8),
        "group.offset": np.tile(np.arange(_UNIT, dtype=np.uint8), units),
        "group.images": np.full(groups, _IMAGES, dtype=np.uint8),
        "group.concept": draw.integers(0, concepts, groups, dtype=np.uint16),
        "group.template": draw.integers(0, 3, groups, dtype=np.uint8),
        "names.concept": np.frombuffer(json.dumps([f"concept {i}" for i in range(concepts)]).encode(), np.uint8),
        "names.template": np.frombuffer(b'["c","c,bg","c,rel"]', np.uint8),
        "score.clip": draw.random(groups),
    }
    data, header = write_columns({name: _column(values) for name, values in columns.items()})
    key = layout.manifest_columns(_JOB, 1, number)
    store.put(key, data)
    digest = hashlib.sha256(data[:header]).hexdigest()
    ref = ColumnsRef(key=key, sha256=digest, header_bytes=header, size=len(data))
    part = layout.manifest_part(_JOB, 1, number)
    return ManifestPart(key=part, sha256="0" * 64, units=units, groups=groups, columns=ref)


def write(root: Path, captions: int, concepts: int) -> DatasetRef:
    """A finished job's end record and columns."""
    store, units = Folder(root), captions // _UNIT
    starts = range(0, units, layout.FAN)
    parts = [_part(store, n, min(layout.FAN, units - start), concepts) for n, start in enumerate(starts)]
    ended = Ended(
        job=_JOB,
        generation=1,
        state=JobState.COMPLETED,
        planned=captions,
        counts=Counts(captions=units * _UNIT),
        parts=tuple(parts),
        manifest_sha256=manifest_hash(parts),
        ended_at=utc_now(),
    )
    store.put(layout.ended(_JOB, 1), ended.to_bytes())
    return DatasetRef(job=_JOB, generation=1, manifest_sha256=ended.manifest_sha256)


def _peak_mb() -> int:
    told = Path("/proc/self/status").read_text()
    return int(told.split("VmHWM:")[1].split()[0]) // 1000


def read(root: Path, batch: int, block: int, least: float | None) -> list[tuple[str, float, float, int]]:
    """(what, seconds by the clock, of the processors, peak of memory in MB so far) of each step."""
    rows: list[tuple[str, float, float, int]] = []

    def timed(what: str, call: Callable[[], T]) -> T:
        clock, cpu = time.perf_counter(), time.process_time()
        made = call()
        rows.append((what, time.perf_counter() - clock, time.process_time() - cpu, _peak_mb()))
        return made

    store: Any = Folder(root)
    ended = Ended.from_bytes(store.get(layout.ended(_JOB, 1)))
    ref = DatasetRef(job=_JOB, generation=1, manifest_sha256=ended.manifest_sha256)
    bounds = {} if least is None else {"clip": least}
    dataset = timed("load the columns", lambda: load_dataset(store, [ref], views=_IMAGES, min_scores=bounds))
    plan = timed("plan: held-out groups, an epoch's length", lambda: Plan(dataset.table, 7, batch, block, 0.2))
    timed("first batch", lambda: plan.batch(0))
    few = min(200, plan.steps_per_epoch - 1)
    timed(f"the next {few} batches", lambda: [plan.batch(1 + step) for step in range(few)])
    timed("a batch in the middle of the epoch", lambda: plan.batch(plan.steps_per_epoch // 2))
    timed("first batch of the next epoch", lambda: plan.batch(plan.steps_per_epoch))
    print(json.dumps([len(dataset.table), plan.groups, plan.steps_per_epoch, rows]))  # noqa: T201
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--captions", type=int, default=150_000_000)
    parser.add_argument("--concepts", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=8192, help="captions")
    parser.add_argument("--block-shards", type=int, default=256)
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--least", type=float, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.read is not None:
        read(args.read, args.batch, args.block_shards, args.least)
        return
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        since = time.perf_counter()
        write(Path(folder), args.captions, args.concepts)
        console.print(
            f"{args.captions:,} captions of {args.concepts:,} concepts: written in "
            f"{time.perf_counter() - since:.0f} s; load of the machine {os.getloadavg()[0]:.1f}"
        )
        for title, more in (("all captions", []), ("data.min_scores clip 0.3", ["--least", "0.3"])):
            command = [sys.executable, __file__, "--read", folder, "--batch", f"{args.batch}"]
            command += ["--block-shards", f"{args.block_shards}", *more]
            told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            groups, training, steps, rows = json.loads(told.splitlines()[-1])
            table = Table("step", "clock, s", "processors, s", "peak, MB")
            table.title = f"{title}: {groups:,} groups, {training:,} trained on, {steps:,} steps an epoch"
            for what, clock, cpu, peak in rows:
                table.add_row(what, f"{clock:.3f}", f"{cpu:.3f}", f"{peak:,}")
            console.print(table)


if __name__ == "__main__":
    main()
