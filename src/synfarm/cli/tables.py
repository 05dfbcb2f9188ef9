"""Jobs, runs, plans and workers as people read them: one row each, or one list of facts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from synfarm.cli.learnt import knn_rows
from synfarm.cli.meter import in_bytes

if TYPE_CHECKING:
    from datetime import datetime

    from rich.console import Console

    from synfarm.contracts.runs import CheckpointFacts
    from synfarm.contracts.views import JobView, RunView

__all__ = [
    "facts",
    "job_facts",
    "jobs_table",
    "percent",
    "run_facts",
    "runs_table",
    "span",
    "table",
    "texts_kept",
]

_STYLES = {
    "running": "cyan",
    "completed": "green",
    "completed_with_errors": "yellow",
    "ready": "green",
    "failed": "red",
    "cancelled": "dim",
    "stopped": "dim",
    "paused": "yellow",
}


def state_text(state: str) -> Text:
    return Text(state.replace("_", " "), style=_STYLES.get(state, ""))


def span(seconds: float | None) -> str:
    """A length of time in its two largest units: ``1d 2h``, ``3m05s``, ``12s``; ``-`` for none."""
    if seconds is None:
        return "-"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}m{rest:02d}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours < 24 else f"{hours // 24}d {hours % 24}h"


def percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "-"


def _when(moment: datetime) -> str:
    return f"{moment.astimezone():%Y-%m-%d %H:%M}"


def _speed(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}" if value < 100 else f"{value:.0f}"


_WHOLE = frozenset({"job", "run", "caption", "refused"})


def table(*columns: str, right: Iterable[str] = ()) -> Table:
    """An empty table; the columns named in ``right`` hold numbers. Ids and numbers are never folded."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    numbers = frozenset(right)
    for name in columns:
        # No least widths: rich would cut the last column by what they exceed. It makes those that fold equally wide.
        # Rows of a farm are for reading: what does not fit is folded, an id never, for it is there to be copied.
        made.add_column(
            name,
            no_wrap=name in _WHOLE | numbers,
            overflow="fold",
            justify="right" if name in numbers else "left",
        )
    return made


_NARROW = 110
_FIRST_TO_GO = ("img/s", "ETA", "made")


def _fitted(columns: Sequence[str], rows: Sequence[Sequence[str | Text]], screen: Console) -> Table:
    """A table of the rows. On a narrow console columns go one by one until nothing more has to be folded."""
    for gone in range(len(_FIRST_TO_GO) + 1):
        left = [place for place, name in enumerate(columns) if name not in _FIRST_TO_GO[:gone]]
        made = table(*(columns[place] for place in left), right=_NUMBERS)
        for row in rows:
            made.add_row(*(row[place] for place in left))
        if screen.width >= _NARROW or _whole_width(made, screen) <= screen.width:
            break
    return made


def _whole_width(made: Table, screen: Console) -> int:
    return Measurement.get(screen, screen.options.update(max_width=10_000), made).maximum


def facts(rows: Mapping[str, str | Text]) -> Table:
    """Names on the left, values on the right."""
    made = Table(box=None, show_header=False, pad_edge=False)
    made.add_column(style="bold", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in rows.items():
        made.add_row(name, value)
    return made


_JOBS = ("job", "name", "state", "done", "captions", "images", "img/s", "ETA", "made")
_RUNS = ("run", "name", "state", "preset", "step", "done", "img/s", "ETA", "loss", "made")
_NUMBERS = ("done", "captions", "images", "img/s", "ETA", "step", "loss")


def jobs_table(jobs: Iterable[JobView], screen: Console) -> Table:
    """For ``screen``: a narrow one is not shown everything."""
    rows: list[tuple[str | Text, ...]] = []
    for job in jobs:
        settled = job.counts.captions + job.counts.empty
        state = state_text(job.state.value)
        if job.stalled:
            state.append(" (stalled)", style="red")
        rows.append(
            (
                job.job,
                job.name,
                state,
                percent(settled, job.planned_captions),
                f"{job.counts.captions}/{job.planned_captions}",
                str(job.counts.images),
                _speed(job.images_per_second),
                span(job.eta_seconds),
                _when(job.created_at),
            )
        )
    return _fitted(_JOBS, rows, screen)


def runs_table(runs: Iterable[RunView], screen: Console) -> Table:
    """As :func:`jobs_table`."""
    rows: list[tuple[str | Text, ...]] = []
    for run in runs:
        total = run.losses.get("total")
        rows.append(
            (
                run.run,
                run.name,
                state_text(run.state.value),
                run.preset,
                f"{run.step}/{run.total_steps}",
                percent(run.step, run.total_steps),
                _speed(run.images_per_second),
                span(run.eta_seconds),
                "-" if total is None else f"{total:.3f}",
                _when(run.created_at),
            )
        )
    return _fitted(_RUNS, rows, screen)


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items(), key=lambda item: -item[1])) or "none"


def texts_kept(kept: int, draws: int, rejections: Mapping[str, int]) -> str:
    """How many texts of the language model were kept, and why the others were not, the most frequent reason first."""
    return f"{percent(kept, draws)} of {draws} texts kept; refused: {_counted(rejections)}"


def job_facts(job: JobView) -> Table:
    counts = job.counts
    kept = percent(job.texts_kept, job.draws)
    rows: dict[str, str | Text] = {
        "job": job.job,
        "name": f"{job.name} (owner {job.owner}, made {_when(job.created_at)})",
        "state": state_text(job.state.value),
        "captions": f"{job.captions_written} written, {counts.captions} with images, {counts.empty} left empty, "
        f"{job.planned_captions} planned",
        "images": f"{counts.images} ({counts.bytes / 1e6:.1f} MB)",
        "units": f"{counts.units_committed} committed, {counts.units_dead} lost, {job.in_flight} in flight, "
        f"{job.planned_units} planned",
        "texts": f"{job.draws} asked of the language model, {kept} kept; refused: {_counted(job.rejections)}",
    }
    if job.images_per_second is not None:
        rows["speed"] = f"{_speed(job.images_per_second)} images/s, ETA {span(job.eta_seconds)}"
    if job.repairs:
        rows["repairs"] = f"{job.repairs} units sent again"
    if job.stalled:
        rows["stalled"] = Text(job.stalled, style="red")
    if job.reason:
        rows["reason"] = job.reason
    if job.generation is not None:
        rows["manifest"] = f"generation {job.generation}"
    return facts(rows)


def _saved(checkpoint: CheckpointFacts | None) -> str:
    if checkpoint is None or checkpoint.stall_seconds is None or checkpoint.upload_seconds is None:
        return ""
    stall, upload = f"{checkpoint.stall_seconds:.2g} s", f"{checkpoint.upload_seconds:.2g} s"
    return f" ({in_bytes(checkpoint.bytes)}; training stood still for {stall}, upload {upload})"


def run_facts(run: RunView) -> Table:
    rows: dict[str, str | Text] = {
        "run": run.run,
        "name": f"{run.name} (preset {run.preset}, owner {run.owner}, made {_when(run.created_at)})",
        "state": state_text(run.state.value),
        "data": ", ".join(f"job {item.job} generation {item.generation}" for item in run.datasets) or "-",
        "step": f"{run.step} of {run.total_steps} ({run.percent:.0f} %, epoch {run.epoch:.2f})",
        "losses": ", ".join(f"{name} {value:.4f}" for name, value in run.losses.items()) or "-",
        "speed": f"{_speed(run.images_per_second)} images/s, ETA {span(run.eta_seconds)}",
    }
    if run.data_wait_share is not None:
        rows["data wait"] = f"{100 * run.data_wait_share:.0f} % of the time"
    if run.refilled:
        rows["refilled"] = f"{run.refilled} damaged samples"
    if run.attempt is not None:
        resumed = f", resumed from step {run.resumed_step}" if run.resumed_step else ""
        rows["attempt"] = f"{run.attempt}{resumed}"
    if run.queue_position is not None:
        rows["queue"] = f"place {run.queue_position}"
    if run.devices not in {None, "all"}:
        rows["devices"] = f"{run.devices}"
    if run.last_checkpoint is not None:
        rows["checkpoint"] = f"step {run.last_checkpoint}{_saved(run.checkpoint)}"
    if run.evals:
        rows |= knn_rows(run.evals)
        rows["evaluations"] = "at steps " + ", ".join(sorted(run.evals, key=lambda step: int(step)))
    if run.reason:
        rows["reason"] = run.reason
    return facts(rows)
