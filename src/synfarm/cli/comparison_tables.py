"""A comparison as people read it: speed of each preset, and each distance beside what it means."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synfarm.cli.counting import counted
from synfarm.cli.screen import say
from synfarm.cli.tables import table

if TYPE_CHECKING:
    from rich.console import Console

    from synfarm.contracts.comparisons import Comparison

__all__ = ["print_comparison"]


def print_comparison(console: Console, found: Comparison) -> None:
    """Fits 80 columns."""
    first = found.columns[0]
    contrasts = {contrast.name: contrast for contrast in found.contrasts}
    drawn = f"{counted(len(found.captions), 'caption')}, {counted(found.images, 'image')} of each"
    say(console, f"{drawn}, {first.render.size} px, {counted(len(first.rounds), 'round')}\n")
    heads = ("passes", "img/s", f"times {first.name}", "least-most", *first.scores)
    speeds = table("preset", *heads, right=heads)
    for column in found.columns:
        beside = contrasts.get(column.name)
        times = ("", "") if beside is None else (f"{beside.speed:.2f}", "{:.2f}-{:.2f}".format(*beside.speed_range))
        numbers = (f"{column.network_passes:g}", f"{column.images_per_second:.3g}", *times)
        speeds.add_row(column.name, *numbers, *(f"{score:.3f}" for score in column.scores.values()))
    console.print(speeds)
    for measure, about in found.measures.items():
        say(console, f"\n{measure}: {about}")
        heads = (f"from {first.name}", "other seed", "other caption")
        rows = table("preset", *heads, right=heads)
        for column in found.columns:
            beside = contrasts.get(column.name)
            values = (None if beside is None else beside.distances, column.seeds, column.captions)
            rows.add_row(column.name, *("" if not v else f"{v[measure]:.3g}" for v in values))
        console.print(rows)
    for note in found.notes:
        say(console, f"\nNote: {note}")
