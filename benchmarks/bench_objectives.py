"""Which objective learns most on the same images, at the same budget? The paper's tables 4 and 5, as small as it goes.

    make bench-objectives                                   # 7 configurations, 3 seeds, an hour or two on two cores
    make bench-objectives ARGS="--objectives mae clip"      # others of the trainer's objectives, into the same file
    make bench-objectives ARGS="--table build/bench-objectives.json"    # only the tables of what is done

The demo's job is made once (``--data``); every configuration trains on it with each seed, in a process of one thread.
What is done stands in ``--out`` and is not done again, so that it can be stopped at any time and continued. All see 128
global crops a step. ± is the standard error over seeds; in brackets the mean over seeds of the bootstrap over captions.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from frozen_job import FrozenJob, JobFailed, frozen_job
from objective_runs import CHOICES, LADDER, LEVELS
from objective_tables import tables

from synfarm.telemetry import configure_logging
from synfarm.whole_file import write_whole

_ALONE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Task:
    name: str
    seed: int
    steps: int

    @classmethod
    def of(cls, result: dict[str, Any]) -> Task:
        return cls(result["name"], result["seed"], result["steps"])

    def files(self, folder: Path) -> tuple[Path, Path]:
        """Where its run writes its result and what went wrong."""
        stem = f"{self.name}-{self.seed}-{self.steps}"
        return folder / f"{stem}.json", folder / f"{stem}.log"


class Results:
    """``--out``: the job, and every result as the run gave it."""

    def __init__(self, path: Path, job: FrozenJob) -> None:
        """
        Raises:
            JobFailed: the file's results are of other images.
        """
        made = job.made.model_dump(mode="json")
        self._path = path
        self._held: dict[str, Any] = {"job": made, "cpus": os.cpu_count(), "results": []}
        if path.exists():
            self._held = json.loads(path.read_text())
            if self._held["job"] != made:
                raise JobFailed(f"{path} holds results of another job than {job.folder}: name another file")

    @property
    def all(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._held["results"]
        return found

    def add(self, result: dict[str, Any]) -> None:
        self.all.append(result)
        write_whole(self._path, json.dumps(self._held).encode())


@dataclass
class Crew:
    """At most so many runs at a time; none outlives this process."""

    data: Path
    workers: int
    running: dict[Task, subprocess.Popen[bytes]] = field(default_factory=dict)

    def work(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, dict[str, Any] | None, str]]:
        """Each task as it ends: its result, or None and what it wrote."""
        left = list(tasks)
        with tempfile.TemporaryDirectory(prefix="synfarm-bench-") as folder:
            try:
                while left or self.running:
                    while left and len(self.running) < self.workers:
                        self._start(left.pop(0), Path(folder))
                    time.sleep(0.2)
                    for task, process in list(self.running.items()):
                        if process.poll() is None:
                            continue
                        del self.running[task]
                        said = [path.read_text(errors="replace") for path in task.files(Path(folder))]
                        yield task, json.loads(said[0]) if process.returncode == 0 else None, said[1]
            finally:
                for process in self.running.values():
                    process.terminate()
                for process in self.running.values():
                    process.wait()

    def _start(self, task: Task, folder: Path) -> None:
        script = Path(__file__).with_name("objective_runs.py")
        asked = {"--data": self.data, "--name": task.name, "--seed": task.seed, "--steps": task.steps}
        command = [sys.executable, str(script), *(str(part) for pair in asked.items() for part in pair)]
        out, told = task.files(folder)
        with out.open("wb") as result, told.open("wb") as errors:
            self.running[task] = subprocess.Popen(command, stdout=result, stderr=errors, env={**os.environ, **_ALONE})


def train_all(job: FrozenJob, results: Results, tasks: Sequence[Task], workers: int) -> int:
    """How many runs failed."""
    done = {Task.of(result) for result in results.all}
    left = [task for task in tasks if task not in done]
    sys.stderr.write(f"{len(tasks)} runs, {len(tasks) - len(left)} of them done\n")
    failed, began = 0, time.monotonic()
    for place, (task, result, told) in enumerate(Crew(job.folder, workers).work(left), 1):
        if result is None:
            failed += 1
            sys.stderr.write(f"{task} failed:\n{told[-2000:]}\n")
            continue
        results.add(result)
        after, minutes = result["after"], (time.monotonic() - began) / 60
        sys.stderr.write(
            f"{place} of {len(left)} after {minutes:.0f} min: {task.name}, seed {task.seed}: "
            f"k-NN {after['knn']['top1']:.1%}, linear {after['linear']['top1']:.1%}\n"
        )
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objectives", nargs="+", choices=CHOICES, default=list(dict.fromkeys((*LADDER, *LEVELS))))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--captions", type=int, default=480, help="of the job; a tenth more is planned")
    parser.add_argument("--concepts", default="48")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="runs at a time")
    parser.add_argument("--data", type=Path, default=Path("build/bench-objectives"), help="folder of the images")
    parser.add_argument("--out", type=Path, default=Path("build/bench-objectives.json"), help="all results")
    parser.add_argument("--table", type=Path, metavar="FILE", help="train nothing; print the tables of these results")
    arguments = parser.parse_args()
    if arguments.table is not None:
        sys.stdout.write(tables(json.loads(arguments.table.read_text())))
        return 0
    configure_logging("error", "console", process="bench-objectives")
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    try:
        job = frozen_job(arguments.data, concepts=arguments.concepts, captions=arguments.captions)
        results = Results(arguments.out, job)
    except JobFailed as failure:
        sys.stderr.write(f"{failure}\n")
        return 1
    except asyncio.CancelledError:
        return 130
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))
    tasks = [Task(name, seed, arguments.steps) for seed in range(arguments.seeds) for name in arguments.objectives]
    try:
        failed = train_all(job, results, tasks, arguments.workers)
    except KeyboardInterrupt:
        return 130
    sys.stdout.write(tables(json.loads(arguments.out.read_text())))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
