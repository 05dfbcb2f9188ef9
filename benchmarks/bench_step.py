"""One training step of SynCLR, the trainer's beside a plain one and beside lightly's parts: times by turns in one run.

Run: ``make bench-step``. A step is gradients, clipping, AdamW and the teacher's average, on a batch that lies on the
device. All sides start from the same weights. Before any time is taken their losses must agree: the plain step's in
every term, at first and again after two steps; lightly's in iBOT alone, with all branches on, because its contrast is
another function (see ``lightly_step.py``). Medians of the turns, with an interval from order statistics that covers the
true median with a probability of at least 95 %; ratios are taken turn by turn.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from intervals import interval
from lightly_step import LightlyStep, installed
from our_step import OurStep
from plain_step import PlainStep
from rich.console import Console
from rich.table import Table
from step_setting import SHAPES, Setting, setting_of, without_drops
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from synfarm_trainer.objectives.batch import TensorBatch

PEAK = 790e12
"""FLOP/s of an H200's dense bfloat16 that are reached in practice: what MFU is a share of."""
AGREEMENT = {"cpu": 1e-4, "cuda": 2e-2}
"""Relative, of each term: float32 in another order of sums, and bfloat16."""


class Side(Protocol):
    name: str

    def step(self, batch: TensorBatch) -> dict[str, Tensor]: ...


@dataclass
class Times:
    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    peak_bytes: int = 0


def agree(found: dict[str, Tensor], wanted: dict[str, Tensor], tolerance: float, when: str) -> None:
    """Ends the run when a term differs: of sides that compute something else no time is worth knowing."""
    for name, value in wanted.items():
        mine, right = float(found[name]), float(value)
        if not abs(mine - right) <= tolerance * abs(right):
            sys.exit(f"{when}: {name} is {mine:.6f} on one side and {right:.6f} on the other; nothing was measured")


def check_plain(setting: Setting, ours: OurStep, plain: PlainStep, batch: TensorBatch) -> dict[str, float]:
    """Both make two steps and are compared before each and after."""
    tolerance, first = AGREEMENT[setting.device.type], {}
    for number in range(3):
        found, wanted = plain.step(batch), ours.step(batch)
        agree(found, wanted, tolerance, f"plain step {number + 1}")
        first = first or {name: float(loss) for name, loss in wanted.items()}
    return first


def check_lightly(setting: Setting, lightly: LightlyStep, batch: TensorBatch) -> None:
    """Against a step of the trainer without drops, from the same weights."""
    whole, ours = without_drops(batch), OurStep(setting)
    lightly.student.eval()
    with torch.no_grad():
        found = lightly.losses(whole)
    lightly.student.train()
    wanted = ours.step(whole)
    agree(found, {"ibot": wanted["ibot"]}, 10 * AGREEMENT[setting.device.type], "lightly")


def needed_flops(setting: Setting, ours: OurStep, batch: TensorBatch) -> int:
    """Of one step without anything that is computed twice or for nothing; dropped branches count, as is usual."""
    lean = PlainStep(setting, ours.student, ours.teacher, compiled=False, head_on_all=False)
    with FlopCounterMode(display=False) as counter:
        losses = lean.losses(batch)
        torch.stack(list(vars(losses).values())).sum().backward()
    return counter.get_total_flops()


def measure(setting: Setting, sides: Sequence[Side], batch: TensorBatch, turns: int, repeat: int) -> dict[str, Times]:
    """Every turn takes all sides, in an order that rotates."""
    wait: Callable[[], None] = torch.cuda.synchronize if setting.on_gpu else lambda: None
    times = {side.name: Times() for side in sides}
    for turn in range(-2, turns):  # two turns to warm up
        for place in range(len(sides)):
            side = sides[(turn + place) % len(sides)]
            if setting.on_gpu:
                torch.cuda.reset_peak_memory_stats()
                held = torch.cuda.memory_allocated()
            wait()
            began, cpu = time.perf_counter(), time.process_time()
            for _ in range(repeat):
                side.step(batch)
            wait()
            if turn >= 0:
                times[side.name].seconds.append((time.perf_counter() - began) / repeat)
                times[side.name].cpu.append((time.process_time() - cpu) / repeat)
            if setting.on_gpu:
                peak = torch.cuda.max_memory_allocated() - held
                times[side.name].peak_bytes = max(times[side.name].peak_bytes, peak)
    return times


def show(console: Console, setting: Setting, title: str, rows: dict[str, dict[str, Any]]) -> None:
    table = Table("", "ms a step", "95 %", "images/s", "times the trainer's", "95 %", title=title)
    if setting.on_gpu:
        table.add_column("GB above weights")
        table.add_column("MFU %")
    else:
        table.add_column("CPU ms")
    for name, row in rows.items():
        cells = [name, f"{1e3 * row['seconds']:.1f}", _range([1e3 * x for x in row["interval"]], 1)]
        cells += [f"{row['images_per_second']:.1f}", f"{row['ratio']:.3f}", _range(row["ratio_interval"], 3)]
        if setting.on_gpu:
            cells += [f"{row['peak_bytes'] / 1e9:.2f}", f"{100 * row['mfu']:.1f}"]
        else:
            cells.append(f"{1e3 * row['cpu_seconds']:.0f}")
        table.add_row(*cells)
    console.print(table)


def _range(ends: Sequence[float], digits: int) -> str:
    return f"{ends[0]:.{digits}f} to {ends[1]:.{digits}f}"


def summary(setting: Setting, times: dict[str, Times], flops: int) -> dict[str, dict[str, Any]]:
    images = setting.config.data.captions_per_batch * setting.config.data.views
    ours, rows = times[OurStep.name].seconds, {}
    for name, found in times.items():
        median, *ends = interval(found.seconds)
        # Turn by turn: what disturbs the machine for minutes disturbs both sides of a ratio.
        ratio, *ratio_ends = interval([its / mine for its, mine in zip(found.seconds, ours, strict=True)])
        rows[name] = {
            "seconds": median,
            "interval": ends,
            "images_per_second": images / median,
            "ratio": ratio,
            "ratio_interval": ratio_ends,
            "cpu_seconds": statistics.median(found.cpu),
            "peak_bytes": found.peak_bytes,
            "mfu": flops / median / PEAK,
        }
    return rows


def _override(text: str) -> tuple[str, object]:
    name, _, value = text.partition("=")
    return name, json.loads(value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", "--preset", choices=list(SHAPES), default="narrow", help="preset and network")
    parser.add_argument("--captions", type=int, default=8, help="in a batch; four images each")
    parser.add_argument("--micro", type=int, default=0, help="captions in one pass of the trainer; 0 for all at once")
    parser.add_argument("--set", type=_override, action="append", default=[], metavar="FIELD=JSON", dest="overrides")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0 for all cores")
    parser.add_argument("--steps", type=int, default=12, help="turns that are measured, at least 10")
    parser.add_argument("--repeat", type=int, default=0, help="steps in a turn; by default 1, on a GPU 5")
    parser.add_argument(
        "--compile", action=argparse.BooleanOptionalAction, help="the plain networks, our blocks; as a rule on GPUs"
    )
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    options = parser.parse_args()
    if options.steps < 10:
        parser.error("--steps: at least 10, or there is no interval of 95 %")
    if options.threads:
        torch.set_num_threads(options.threads)
    compiled = options.device == "cuda" if options.compile is None else options.compile
    by_blocks = {"execution.compile": "blocks"} if compiled else {}
    overrides = {**by_blocks, **dict(options.overrides), "execution.micro_captions": options.micro}
    try:
        setting = setting_of(options.shape, options.captions, options.device, overrides)
    except ValueError as error:
        parser.error(str(error))
    console = Console(width=max(Console().width, 110))
    batch, ours = setting.batch(), OurStep(setting)
    plain = PlainStep(setting, ours.student, ours.teacher, compiled=compiled)
    sides: list[Side] = [ours, plain]
    if installed():
        lightly = LightlyStep(setting, ours.student, ours.teacher)
        check_lightly(setting, lightly, batch)
        sides.append(lightly)
    else:
        console.print("lightly is not installed (extra 'bench', `make bench-step` brings it): its row is left out")
    flops = needed_flops(setting, ours, batch)
    losses = check_plain(setting, ours, plain, batch)
    console.print(f"losses agree: {', '.join(f'{name} {loss:.5f}' for name, loss in losses.items())}")
    times = measure(setting, sides, batch, options.steps, options.repeat or (5 if setting.on_gpu else 1))
    rows = summary(setting, times, flops)
    model, data = setting.config.model, setting.config.data
    title = (
        f"ViT {model.width} x {model.depth}, patch {model.patch}, {data.captions_per_batch} captions x {data.views}, "
        f"{setting.config.local_count} local crops, {setting.section.prototypes} prototypes on {options.device}"
        f"{', compiled' if compiled else ''}; {options.steps} turns, {flops / 1e12:.3f} TFLOP a step"
    )
    show(console, setting, title, rows)
    if ours.passes.failure is not None:
        console.print(f"our blocks could not be compiled and ran as written: {ours.passes.failure}")
    console.print(f"load {os.getloadavg()[0]:.1f}, {torch.get_num_threads()} threads")
    if options.json:
        facts = {"title": title, "flops": flops, "losses": losses, "sides": rows, "torch": torch.__version__}
        options.json.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
