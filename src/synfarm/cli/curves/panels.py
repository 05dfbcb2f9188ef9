"""One chart in a terminal: its name, its lines with their colours and last values, and its axes in numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from synfarm.cli.curves.braille import draw

__all__ = ["chart"]

_COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "red")
_MARGIN = 9
"""Columns for the numbers of the vertical axis."""


def chart(
    name: str, lines: Mapping[str, Sequence[tuple[float, float]]], width: int, height: int, form: str = ".4g"
) -> RenderableType:
    """``width`` is that of the whole, ``height`` that of the curves; a chart without points says so.

    Args:
        form: of the numbers.
    """
    shown = {label: line for label, line in lines.items() if line}
    title = Text(name, style="bold")
    for number, (label, line) in enumerate(shown.items()):
        title.append("  ")
        title.append(f"{label} " if label else "", style=_colour(number))
        title.append(format(line[-1][1], form), style=_colour(number))
    title.truncate(width, overflow="ellipsis")
    drawn = draw(list(shown.values()), max(4, width - _MARGIN), height)
    if drawn is None:
        return Group(title, Text("no points yet", style="dim"))
    rows = []
    for place, cells in enumerate(drawn.rows):
        edge = {0: drawn.high, len(drawn.rows) - 1: drawn.low}.get(place)
        row = Text(f"{'' if edge is None else format(edge, form):>{_MARGIN - 1}} ", style="dim")
        for character, number in cells:
            row.append(character, style=_colour(number) if number >= 0 else "")
        rows.append(row)
    steps = [x for line in shown.values() for x, _ in (line[0], line[-1])]
    first, last = f"{min(steps):,.0f}", f"step {max(steps):,.0f}"
    gap = max(1, width - _MARGIN - len(first) - len(last))
    return Group(title, *rows, Text(f"{'':>{_MARGIN}}{first}{'':>{gap}}{last}", style="dim"))


def _colour(number: int) -> str:
    return _COLOURS[number % len(_COLOURS)]
