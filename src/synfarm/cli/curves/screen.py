"""A run on a terminal while it is watched: where it stands, and its curves of losses, speed and evaluations."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from synfarm.cli.curves.history import RunHistory
from synfarm.cli.curves.panels import chart
from synfarm.cli.display import run_line
from synfarm.cli.evaluations import evaluation_rows

if TYPE_CHECKING:
    from synfarm.contracts.views import RunView
    from synfarm.sdk import Client

__all__ = ["RunScreen"]

_WIDE = 100
"""Columns from which charts stand side by side."""


class RunScreen:
    """Draws on ``console``, which is a terminal, as long as :attr:`drawing` is entered."""

    def __init__(self, console: Console, client: Client) -> None:
        self._console, self._client = console, client
        self._history = RunHistory()
        self._live = Live(console=console, auto_refresh=False)

    @property
    def drawing(self) -> AbstractContextManager[Live]:
        return self._live

    def run(self, view: RunView) -> None:
        """Show the run as it is now."""
        self._history.refresh(self._client, view)
        self._live.update(self.render(view), refresh=True)

    def render(self, view: RunView) -> RenderableType:
        width = self._console.width - 1
        side = width >= _WIDE
        wide = width * 3 // 5 - 2 if side else width
        narrow = width - wide - 2 if side else width
        top1: dict[str, list[tuple[float, float]]] = {}
        for row in evaluation_rows(view.evals):
            if row.top1 is not None:
                top1.setdefault(row.name, []).append((row.step, 100 * row.top1.top1))
        loss = chart("loss", self._history.losses, wide, 11 if side else 8)
        others = [chart("images/s", {"": self._history.speed}, narrow, 4 if side else 3)]
        if top1:
            others.append(chart("top-1, %", top1, narrow, 4 if side else 3, ".1f"))
        body: RenderableType
        if side:
            body = Table.grid(padding=(0, 2, 0, 0))
            body.add_row(loss, Group(*others))
        else:
            body = Group(loss, *others)
        head = Text(f"{view.name}  {view.state.value}  ", style="bold")
        head.append(f"attempt {view.attempt}" if view.attempt else "", style="dim")
        bar = Table.grid()  # in a row of its own: alone, a bar does not end its line
        bar.add_row(ProgressBar(total=view.total_steps, completed=view.step, width=min(60, width)))
        warnings = [Text(words, style="red") for words in view.warnings]
        return Group(head, bar, Text(run_line(view), overflow="ellipsis", no_wrap=True), *warnings, body)
