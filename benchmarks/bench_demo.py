"""Does the chain learn? The demo with several seeds: k-NN before and after training, beside floors on the same split.

    make bench-demo                      # 3 seeds, about half an hour on two cores
    make bench-demo ARGS="--seeds 1"

Prints a table for docs/measurements.md; exits 1 when a seed gains less than 5 points or less than 2 standard errors.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from synfarm.cli.demo.command import DemoFailed, run_demo
from synfarm.cli.demo.options import DemoOptions
from synfarm.cli.demo.summary import DemoSummary
from synfarm.cli.interrupts import run_interruptible
from synfarm.knn import Accuracy, KnnRecord, knn_history
from synfarm.telemetry import configure_logging

POINTS, ERRORS = 0.05, 2.0


def gain(before: Accuracy, after: Accuracy) -> tuple[float, float]:
    """(gain in top-1, gain in standard errors of the difference, taken as independent: the cautious side)."""
    difference = after.top1 - before.top1
    error = math.hypot(after.standard_error, before.standard_error)
    return difference, difference / error if error else math.inf


def row(seed: int, summary: DemoSummary, before: KnnRecord, after: KnnRecord) -> str:
    points, errors = gain(before, after)
    floors = [str(after.floors[name]) for name in ("raw_pixels", "colour_histogram")]
    cells = [
        str(seed),
        str(summary.captions),
        f"{100 * summary.acceptance:.0f} %",
        str(summary.steps),
        str(before),
        str(after),
        f"{100 * points:+.1f}",
        f"{errors:.1f}",
        *floors,
        f"{summary.seconds['captions and images']:.0f} + {summary.seconds['training and evaluation']:.0f} s",
    ]
    return f"| {' | '.join(cells)} |"


HEAD = (
    "seed",
    "captions",
    "accepted",
    "steps",
    "k-NN untrained",
    "k-NN trained",
    "gain, points",
    "gain, s.e.",
    "raw pixels",
    "colour histogram",
    "generation + training",
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--concepts", default="48")
    parser.add_argument("--captions", type=int, default=480)
    parser.add_argument("--steps", type=int, default=None)
    arguments = parser.parse_args()
    configure_logging("error", "console", process="bench-demo")
    rows, weak = [], []
    for seed in range(arguments.seeds):
        with tempfile.TemporaryDirectory(prefix="synfarm-bench-") as folder:
            options = DemoOptions(
                concepts=arguments.concepts,
                captions=arguments.captions,
                steps=arguments.steps,
                seed=seed,
                data_dir=Path(folder) / "demo",
            )
            try:
                summary = run_interruptible(run_demo(options, Console(stderr=True)))
            except DemoFailed as failure:
                sys.stderr.write(f"seed {seed}: {failure}\n")
                return 1
            except asyncio.CancelledError:
                return 130
        history = knn_history(summary.evals)
        before, after = (history.before, history.after) if history is not None else (None, None)
        if before is None or after is None:
            sys.stderr.write(f"seed {seed}: the run has no k-NN record before and after training\n")
            return 1
        rows.append(row(seed, summary, before, after))
        points, errors = gain(before, after)
        if points < POINTS or errors < ERRORS:
            weak.append(seed)
    sys.stdout.write(f"\nmeasured {datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} CPU cores, `make bench-demo`\n\n")
    sys.stdout.write(f"| {' | '.join(HEAD)} |\n|{' --- |' * len(HEAD)}\n" + "\n".join(rows) + "\n")
    if weak:
        sys.stderr.write(f"seeds {weak} gained less than {100 * POINTS:.0f} points or {ERRORS:.0f} standard errors\n")
    return 1 if weak else 0


if __name__ == "__main__":
    sys.exit(main())
