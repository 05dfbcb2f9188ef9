"""The render worker end to end: against loops without a farm, the farm's own cost a unit, and memory over many units.

Everything is real but the captions and the weights: Redis, S3, one worker process. Figures that are compared are taken
by turns in one run; medians of several rounds are shown.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from diffusers_loops import LoopSettings
from random_pipelines import sd15_shaped, sd_bench
from render_farm import WORDS, RenderFarm, WorkerChild
from rich.console import Console
from rich.table import Table

from synfarm.contracts.jobs import JobSpec, RenderSettings

HERE = Path(__file__).parent
IDLE = [str(HERE / "idle_workers.py"), "render"]


class LoopChild:
    """A loop in a process of its own, idle between two rounds."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the loop ended")
        return line

    def run(self, units: list[list[str]]) -> dict[str, float]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"units": units}) + "\n")
        self._process.stdin.flush()
        answer: dict[str, float] = json.loads(self.line())
        return answer


@contextmanager
def loop(farm: RenderFarm, kind: str, settings: LoopSettings) -> Iterator[LoopChild]:
    command = [sys.executable, str(HERE / "diffusers_loops.py"), kind, json.dumps(dataclasses.asdict(settings))]
    with subprocess.Popen(
        command, env=farm.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        child = LoopChild(process)
        try:
            child.line()
            yield child
        finally:
            process.kill()


def worker_round(farm: RenderFarm, child: WorkerChild, spec: JobSpec) -> dict[str, float]:
    """Send all units of a job and wait for their commits; from the first send to the last commit."""
    before, cpu, began = child.metrics(), child.cpu_seconds(), datetime.now(UTC)
    farm.send(spec)
    farm.wait(spec, spec.units, child)
    after, commits = child.metrics(), farm.commits(spec)
    seconds = (commits[-1].committed_at - began).total_seconds()

    def grown(name: str) -> float:
        return after[f"synfarm_render_{name}"] - before[f"synfarm_render_{name}"]

    return {
        "seconds": seconds,
        "images": sum(commit.images for commit in commits),
        "drawing": grown("device_busy_seconds_total"),
        "cpu": child.cpu_seconds() - cpu,
        "idle": 1 - grown("device_busy_seconds_total") / grown("device_wanted_seconds_total"),
    }


def pipeline(console: Console, options: argparse.Namespace) -> None:
    """Part (a)."""
    with tempfile.TemporaryDirectory() as root, ExitStack() as stack:
        folder = Path(root)
        made = sd_bench() if options.shape == "tiny" else sd15_shaped()
        made.save_pretrained(folder / "models" / "bench", safe_serialization=True)
        farm = RenderFarm(folder / "farm")
        stack.callback(farm.close)
        settings = LoopSettings(
            model=str(folder / "models" / "bench"),
            device=options.device,
            dtype=options.dtype,
            size=options.size,
            steps=options.steps,
            guidance=2.5,
            batch=options.batch,
            images_per_caption=4,
            quality=95,
        )
        render = RenderSettings(
            renderer="diffusers",
            model="bench",
            family="bench",
            size=options.size,
            steps=options.steps,
            guidance=2.5,
        )
        worker = stack.enter_context(
            farm.worker(
                ["-m", "synfarm_render_worker"],
                cwd=folder / "models",
                SYNFARM_RENDER_MODELS=str(folder / "models"),
                SYNFARM_RENDER_CAPABILITIES=json.dumps([render.capability]),
                SYNFARM_RENDER_DEVICE=options.device,
                SYNFARM_RENDER_DTYPE=options.dtype,
                SYNFARM_RENDER_BATCH=str(options.batch),
                HF_HUB_OFFLINE="1",
            )
        )
        loops = {kind: stack.enter_context(loop(farm, kind, settings)) for kind in options.loops}

        def job(units: int) -> JobSpec:
            return farm.job(units=units, captions_per_unit=options.captions, images_per_caption=4, render=render)

        worker_round(farm, worker, job(1))  # loads the model
        rounds: dict[str, list[dict[str, float]]] = {"worker": [], **{kind: [] for kind in loops}}
        texts = [f"a {WORDS[i % len(WORDS)]} in the morning light, seen from afar" for i in range(options.captions)]
        for _ in range(options.rounds):
            rounds["worker"].append(worker_round(farm, worker, job(options.units)))
            for kind, child in loops.items():
                rounds[kind].append(child.run([texts] * options.units))
        _show_pipeline(console, options, rounds)


def _show_pipeline(console: Console, options: argparse.Namespace, rounds: dict[str, list[dict[str, float]]]) -> None:
    what = (
        f"{options.shape}, {options.size} px, {options.steps} steps, batch {options.batch}, {options.dtype} on "
        f"{options.device}; {options.rounds} rounds of {options.units} units of {options.captions} captions x 4"
    )
    table = Table(
        "", "img/s", "range", "worker / this", "queue, store, encoding %", "device idle %", "CPU ms/image", title=what
    )
    worker = [one["images"] / one["seconds"] for one in rounds["worker"]]
    for kind, found in rounds.items():
        rates = [one["images"] / one["seconds"] for one in found]
        # By rounds: what disturbs the machine for minutes disturbs both sides of a ratio.
        ratio = statistics.median(mine / its for mine, its in zip(worker, rates, strict=True))
        waste = statistics.median(1 - one["drawing"] / one["seconds"] for one in found)
        idle = f"{100 * statistics.median(one['idle'] for one in found):.1f}" if kind == "worker" else ""
        name = kind if kind != "tuned" else f"tuned, batch {found[0]['batch']:.0f}"
        table.add_row(
            name,
            f"{statistics.median(rates):.2f}",
            f"{min(rates):.2f} to {max(rates):.2f}",
            f"{ratio:.3f}",
            f"{100 * waste:.1f}",
            idle,
            f"{1000 * statistics.median(one['cpu'] / one['images'] for one in found):.0f}",
        )
    console.print(table)


def protocol(console: Console, options: argparse.Namespace) -> None:
    """Part (b)."""
    with tempfile.TemporaryDirectory() as root, ExitStack() as stack:
        farm = RenderFarm(Path(root))
        stack.callback(farm.close)
        units, bare, hits = [], [], 0.0
        for _ in range(options.rounds):
            spec = farm.job(
                units=options.messages, captions_per_unit=2, images_per_caption=1, render=RenderSettings(size=64)
            )
            farm.send(spec)  # before the worker starts: only taking is measured
            with farm.worker(IDLE, SYNFARM_RENDER_FINISHING=str(options.finishing)) as child:
                farm.wait(spec, spec.units, child)
                hits = child.metrics()['synfarm_render_captions_read_total{prefetched="yes"}']
            commits = farm.commits(spec)
            seconds = (commits[-1].committed_at - commits[0].committed_at).total_seconds()
            units.append((len(commits) - 1) / seconds)
            farm.send(spec)
            bare.append((spec.units - 1) / _bare(farm, spec.units))
        table = Table("no-op units, one worker", "units/s", "range", title=f"{options.messages} units a round")
        for name, rates in (("farm", units), ("bare Celery", bare)):
            table.add_row(name, f"{statistics.median(rates):.1f}", f"{min(rates):.1f} to {max(rates):.1f}")
        ratio = statistics.median(a / b for a, b in zip(units, bare, strict=True))
        table.add_row("farm / bare Celery", f"{ratio:.3f}", "")
        console.print(table)
        console.print(
            f"captions that were there in time: {hits:.0f} of {options.messages}; load {os.getloadavg()[0]:.1f}"
        )


def _bare(farm: RenderFarm, messages: int) -> float:
    file = farm.folder / "bare"
    file.unlink(missing_ok=True)
    command = [sys.executable, str(HERE / "idle_workers.py"), "bare", str(messages), str(file)]
    log = farm.folder / "bare.log"
    with log.open("wb") as out, subprocess.Popen(command, env=farm.environment, stderr=out) as process:
        try:
            while not file.exists() or not file.read_text():
                if process.poll() is not None:
                    raise RuntimeError(f"bare Celery ended with {process.returncode}: {log.read_text()[-2000:]}")
                time.sleep(0.05)
            return float(file.read_text())
        finally:
            process.kill()


def memory(console: Console, options: argparse.Namespace) -> None:
    """Part (c)."""
    with tempfile.TemporaryDirectory() as root, ExitStack() as stack:
        farm = RenderFarm(Path(root))
        stack.callback(farm.close)
        spec = farm.job(units=1000, captions_per_unit=8, images_per_caption=4, render=RenderSettings(size=128))
        child = stack.enter_context(farm.worker(IDLE))
        found: list[tuple[str, str]] = []
        sent = 0
        for units in (100, 500, 1000):
            farm.send(spec, range(sent, units))
            sent = units
            farm.wait(spec, units, child)
            found.append((str(units), f"{child.memory_mb():.0f}"))
        table = Table("units committed", "worker's resident memory, MB", title="units of 8 captions x 4 images, 128 px")
        for row in found:
            table.add_row(*row)
        console.print(table)


PARTS: dict[str, Any] = {"pipeline": pipeline, "protocol": protocol, "memory": memory}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument(
        "--dtype", choices=["float32", "float16", "bfloat16"], help="float16 on a GPU, float32 on a CPU"
    )
    parser.add_argument("--shape", choices=["tiny", "sd15"], default="tiny")
    parser.add_argument("--size", type=int, help="px; 64 for tiny, 512 for sd15")
    parser.add_argument("--steps", type=int, help="10 for tiny, 50 for sd15")
    parser.add_argument("--batch", type=int, help="4 on a CPU, 16 on a GPU")
    parser.add_argument("--threads", type=int, default=1, help="of a CPU, for each process that draws")
    parser.add_argument("--captions", type=int, default=8, help="a unit, with four images each")
    parser.add_argument("--units", type=int, default=3, help="a round")
    parser.add_argument("--loops", nargs="+", choices=["plain", "tuned"], default=["plain", "tuned"])
    parser.add_argument("--messages", type=int, default=500, help="no-op units a round")
    parser.add_argument("--finishing", type=int, default=2, help="no-op units that finish beside the next")
    options = parser.parse_args()
    gpu, small = options.device == "cuda", options.shape == "tiny"
    options.dtype = options.dtype or ("float16" if gpu else "float32")
    options.size = options.size or (64 if small else 512)
    options.steps = options.steps or (10 if small else 50)
    options.batch = options.batch or (16 if gpu else 4)
    # Threads that wait give their core away, as in a farm of one machine; all children inherit it.
    os.environ |= {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": str(options.threads)}
    console = Console(width=140)
    for part in options.parts:
        PARTS[part](console, options)


if __name__ == "__main__":
    main()
