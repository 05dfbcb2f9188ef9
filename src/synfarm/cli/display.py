"""How progress is shown: bars in a terminal, a line every few seconds anywhere else."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from synfarm.cli.screen import say
from synfarm.cli.tables import span

if TYPE_CHECKING:
    from synfarm.contracts.views import JobView, RunView

__all__ = ["Display", "LiveDisplay", "PlainDisplay", "job_line", "open_display", "run_line"]

_EVERY = 5.0
"""Seconds between plain lines."""


def _number(value: float | None, form: str = ".1f") -> str:
    return "-" if value is None else format(value, form)


def job_line(view: JobView) -> str:
    """Captions, images, speed and time left of a job in one line."""
    line = (
        f"captions {view.captions_written}/{view.planned_captions} · images {view.counts.images} · "
        f"{_number(view.images_per_second)} images/s · ETA {span(view.eta_seconds)}"
    )
    if not view.captions_written and not view.stalled and not view.state.is_final:
        return f"{line} · the language model writes the first captions"
    if view.repairs:
        line += f" · {view.repairs} units sent again"
    return f"{line} · stalled: {view.stalled}" if view.stalled else line


def run_line(view: RunView) -> str:
    """Steps, losses, speed and time left of a run in one line."""
    losses = " ".join(f"{name} {value:.3f}" for name, value in view.losses.items())
    return (
        f"step {view.step}/{view.total_steps} · {losses or 'loss -'} · "
        f"{_number(view.images_per_second, '.0f')} img/s · ETA {span(view.eta_seconds)}"
    )


class Display(Protocol):
    """Told of everything as it happens; decides itself what is worth showing when."""

    def stage(self, title: str) -> None:
        """A new part begins."""

    def note(self, text: str) -> None:
        """Something that the user should know."""

    def process(self, name: str, state: str) -> None:
        """A process of the stack changed its state."""

    def job(self, view: JobView) -> None: ...

    def run(self, view: RunView) -> None: ...


class PlainDisplay:
    """For logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._next = 0.0

    def _say(self, text: str) -> None:
        say(self._console, text)

    def _say_now_and_then(self, text: str, last: bool) -> None:
        if last or time.monotonic() >= self._next:
            self._say(text)
            self._next = time.monotonic() + _EVERY

    def stage(self, title: str) -> None:
        self._say(f"== {title}")
        self._next = 0.0

    def note(self, text: str) -> None:
        self._say(f"   {text}")

    def process(self, name: str, state: str) -> None:
        if state != "starting":
            self._say(f"   {name}: {state}")

    def job(self, view: JobView) -> None:
        self._say_now_and_then(f"   {job_line(view)}", view.state.is_final)

    def run(self, view: RunView) -> None:
        self._say_now_and_then(f"   {run_line(view)}", view.state.is_final)


class LiveDisplay:
    """For terminals: a bar for captions, one for images, one for training."""

    def __init__(self, console: Console, progress: Progress) -> None:
        self._console = console
        self._progress = progress
        self._bars: dict[str, TaskID] = {}

    def _say(self, text: str, style: str | None = None) -> None:
        say(self._console, text, style)

    def _bar(self, name: str, done: float, total: float, text: str) -> None:
        if name not in self._bars:
            self._bars[name] = self._progress.add_task(name, total=total, text="")
        self._progress.update(self._bars[name], completed=done, total=total, text=text)

    def stage(self, title: str) -> None:
        # Not a rule: it would fold or cut what a user may want to copy.
        self._say(f"== {title}", "bold")

    def note(self, text: str) -> None:
        self._say(f"   {text}", "yellow")

    def process(self, name: str, state: str) -> None:
        if state != "starting":
            self._say(f"   {name}: {state}")

    def job(self, view: JobView) -> None:
        per_caption = view.counts.images / view.counts.captions if view.counts.captions else 4.0
        settled = view.captions_written + view.counts.empty
        self._bar(
            "captions", min(settled, view.planned_captions), view.planned_captions, f"{view.captions_written} kept"
        )
        finished = view.counts.captions + view.counts.empty
        speed = f"{view.counts.images} made, {_number(view.images_per_second)} images/s, ETA {span(view.eta_seconds)}"
        if not view.captions_written and not view.stalled and not view.state.is_final:
            speed = "the language model writes the first captions"
        text = f"{speed}, stalled: {view.stalled}" if view.stalled else speed
        self._bar("images", finished * per_caption, view.planned_captions * per_caption, text)

    def run(self, view: RunView) -> None:
        self._bar("training", view.step, view.total_steps, run_line(view))


def open_display(console: Console) -> tuple[Display, AbstractContextManager[Any]]:
    """The display that fits the console, and the context in which it is drawn."""
    if not console.is_terminal:
        return PlainDisplay(console), nullcontext()
    columns = (
        TextColumn("{task.description:>9}"),
        BarColumn(24),
        TimeElapsedColumn(),
        TextColumn("{task.fields[text]}", markup=False),
    )
    progress = Progress(*columns, console=console)
    return LiveDisplay(console, progress), progress
