"""What the demo tells at its end: what was made, how much was refused and why, how long it took, what was learnt."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import JsonValue
from rich.console import Console
from rich.table import Table
from rich.text import Text

from synfarm.cli.demo.options import DemoOptions
from synfarm.cli.learnt import knn_rows
from synfarm.cli.on_path import say_activation
from synfarm.cli.screen import say
from synfarm.cli.tables import texts_kept
from synfarm.contracts.base import Contract
from synfarm.contracts.ids import JobId, RunId
from synfarm.contracts.jobs import JobRequest
from synfarm.contracts.views import JobView, RunView
from synfarm.local.state import StackState

__all__ = ["DemoSummary", "print_summary", "summarise"]


class DemoSummary(Contract):
    """The summary as ``--json`` writes it."""

    job: JobId
    run: RunId
    job_state: str
    captions_wanted: int
    captions_planned: int
    captions: int
    """Caption groups with images."""
    images: int
    bytes: int
    empty: int
    dead_units: int
    draws: int
    """Texts asked of the language model."""
    acceptance: float
    """Kept captions over draws."""
    rejections: dict[str, int]
    steps: int
    losses: dict[str, float]
    evals: dict[str, JsonValue]
    seconds: dict[str, float]
    """By stage."""
    folder: Path
    bucket: str
    report: Path | None = None
    """The HTML page about all this."""


def summarise(
    options: DemoOptions, state: StackState, job: JobView, run: RunView, seconds: Mapping[str, float]
) -> DemoSummary:
    counts = job.counts
    return DemoSummary(
        job=job.job,
        run=run.run,
        job_state=job.state.value,
        captions_wanted=options.captions,
        captions_planned=job.planned_captions,
        captions=counts.captions,
        images=counts.images,
        bytes=counts.bytes,
        empty=counts.empty,
        dead_units=counts.units_dead,
        draws=job.draws,
        acceptance=job.texts_kept / job.draws if job.draws else 0.0,
        rejections=job.rejections,
        steps=run.step,
        losses=run.losses,
        evals=run.evals,
        seconds=dict(seconds),
        folder=options.data_dir.resolve(),
        bucket=state.bucket,
    )


def print_summary(summary: DemoSummary, request: JobRequest, console: Console) -> None:
    table = Table(title="What was made", title_justify="left", show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    rows = {
        "captions": f"{summary.captions} of {len(request.concepts)} concepts, written by the language model "
        f"({summary.captions_planned} planned, {summary.empty} slots left empty)",
        "images": f"{summary.images} of {request.render.size} px ({summary.bytes / 1e6:.1f} MB of WebDataset shards)",
        "acceptance": texts_kept(round(summary.acceptance * summary.draws), summary.draws, summary.rejections),
        "training": f"{summary.steps} steps, last losses: "
        + (", ".join(f"{name} {value:.3f}" for name, value in summary.losses.items()) or "-"),
        **(knn_rows(summary.evals) or {"k-NN": "no record before and after training"}),
        "time": ", ".join(f"{stage} {seconds:.0f} s" for stage, seconds in summary.seconds.items()),
        "where": f"{summary.folder} (bucket {summary.bucket!r}; jobs/{summary.job}/, runs/{summary.run}/)",
        "report": str(summary.report or "not written"),
    }
    for name, text in rows.items():
        table.add_row(name, Text(text))
    console.print()
    console.print(table)
    if summary.captions < summary.captions_wanted:
        console.print(
            f"Fewer captions than wanted: {summary.captions} of {summary.captions_wanted}; "
            f"the reasons are above, and more redraws (caption.max_redraws) would keep more.",
            style="yellow",
        )
    folder = summary.folder
    say(
        console,
        f"\nNext: open the report in a browser. `synfarm up --data-dir {folder}` keeps this farm open, with a web page "
        f"and for REST.\n`synfarm demo --concepts my.txt` makes images of your own concepts; --seed {request.seed + 1} "
        f"draws others; --steps {2 * summary.steps} trains longer.",
    )
    say_activation(console)
