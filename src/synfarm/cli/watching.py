"""Following a job or a run to its end: bars and curves in a terminal, a line now and then elsewhere, or JSON lines."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, TypeVar

from synfarm.cli.counting import counted
from synfarm.cli.curves.screen import RunScreen
from synfarm.cli.display import PlainDisplay, open_display
from synfarm.cli.exits import CommandFailed, ExitCode
from synfarm.cli.farm import Farm
from synfarm.cli.learnt import knn_rows
from synfarm.cli.screen import errors, output, say, write_json
from synfarm.cli.tables import facts, texts_kept

if TYPE_CHECKING:
    from synfarm.contracts.views import JobView, RunView

__all__ = ["say_report", "watch_job", "watch_run"]


def say_report(run: RunView) -> None:
    """On stderr: the command that makes one page of a run and its data."""
    for dataset in run.datasets[:1]:
        say(errors(), f"Next: synfarm report {dataset.job} --run {run.run} -o report.html")


V = TypeVar("V", "JobView", "RunView")
_PAUSE = 1.0


def _follow(fetch: Callable[[], V], show: Callable[[V], None]) -> V:
    while True:
        view = fetch()
        show(view)
        if view.state.is_final:
            return view
        time.sleep(_PAUSE)


def _only_news() -> Callable[[V], None]:
    """Writes a view as a line of JSON, unless nothing but the time has changed."""
    last: list[object] = [None]

    def write(view: V) -> None:
        news = view.model_dump(exclude={"as_of", "trainerStatus"})
        if news != last[0]:
            last[0] = news
            write_json(view)

    return write


def _interrupted(what: str, name: str) -> CommandFailed:
    return CommandFailed(f"stopped watching; the {what} goes on: synfarm {what}s watch {name}", ExitCode.INTERRUPTED)


def _why(reason: str | None) -> str:
    return f"{(reason or 'no reason given').rstrip('.')}."


def watch_job(farm: Farm, job: str, *, as_json: bool = False) -> None:
    """Watch a job until it has ended; its last line goes to stdout.

    Raises:
        CommandFailed: it ended otherwise than completed; or the user stopped watching.
    """
    with farm.client("api", patient=True) as client:
        try:
            if as_json:
                view = _follow(lambda: client.jobs.get(job), _only_news())
            else:
                display, drawing = open_display(errors())
                with drawing:
                    view = _follow(lambda: client.jobs.get(job), display.job)
        except KeyboardInterrupt:
            raise _interrupted("job", job) from None
    if view.state.value not in {"completed", "completed_with_errors"}:
        raise CommandFailed(f"job {job} ended {view.state.value}: {_why(view.reason)}")
    if not as_json:
        counts = view.counts
        made = [counted(counts.captions, "caption"), counted(counts.images, "image")]
        made += [f"{counted(counts.empty, 'slot')} left empty"]
        made += [f"{counted(counts.units_dead, 'unit')} lost"] if counts.units_dead else []
        kept = f"; {texts_kept(view.texts_kept, view.draws, view.rejections)}" if view.draws else ""
        say(output(), f"job {job} {view.state.value}: {', '.join(made)}{kept}")
        say(errors(), f"Next: synfarm samples {job} -o pictures, synfarm runs start {job} --watch")


def watch_run(farm: Farm, run: str, *, as_json: bool = False) -> None:
    """Watch a run until it has ended; its last line goes to stdout.

    Raises:
        CommandFailed: it ended otherwise than completed; or the user stopped watching.
    """
    with farm.client("trainer", patient=True) as client:
        try:
            if as_json:
                view = _follow(lambda: client.runs.get(run), _only_news())
            else:
                console = errors()
                screen: RunScreen | PlainDisplay
                screen = RunScreen(console, client) if console.is_terminal else PlainDisplay(console)
                with screen.drawing if isinstance(screen, RunScreen) else nullcontext():
                    view = _follow(lambda: client.runs.get(run), screen.run)
        except KeyboardInterrupt:
            raise _interrupted("run", run) from None
    if view.state.value != "completed":
        raise CommandFailed(f"run {run} ended {view.state.value}: {_why(view.reason)}")
    if not as_json:
        losses = ", ".join(f"{name} {value:.3f}" for name, value in view.losses.items())
        say(output(), f"run {run} completed: {view.step} steps, {losses or 'no losses told'}")
        if learnt := knn_rows(view.evals):
            output().print(facts(learnt))
        say_report(view)
