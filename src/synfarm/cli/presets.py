"""`synfarm runs presets`: the trainer's presets, and what one of them comes to before a run is started."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from synfarm.cli.exits import CommandFailed, ExitCode
from synfarm.cli.farm import Farm
from synfarm.cli.options import Json, on_farm
from synfarm.cli.overrides import read_overrides
from synfarm.cli.screen import errors, output, say, write_json
from synfarm.cli.submission import cures_of_the_command
from synfarm.cli.tables import facts, table

if TYPE_CHECKING:
    from synfarm.contracts.presets import PresetView

__all__ = ["presets"]


@on_farm
def presets(
    farm: Farm,
    name: Annotated[str | None, typer.Argument(metavar="[PRESET]", help="Which one to tell in full.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", metavar="NAME=VALUE", help="Change a field of it, as in `runs start`."),
    ] = None,
    as_json: Json = False,
) -> None:
    """List the presets of runs; of one: every field, where its value comes from, and what a step takes."""
    if name is None and settings:
        raise CommandFailed("--set: name the preset whose fields it changes.", ExitCode.REFUSED)
    with farm.client("trainer") as client, cures_of_the_command():
        if name is not None:
            view = client.runs.preset(name, read_overrides(settings or ()))
            write_json(view) if as_json else _tell(view)
            return
        listed = client.runs.presets()
    if as_json:
        write_json(listed)
        return
    made = table("preset", "for")
    for item in listed.items:
        made.add_row(item.name, item.about)
    output().print(made)
    say(errors(), "Every field of one: synfarm runs presets PRESET")


def _tell(view: PresetView) -> None:
    screen = output()
    made = table("field", "value", "source")
    for field in view.fields:
        made.add_row(field.name, json.dumps(field.value), field.source)
    screen.print(made)
    say(screen, "")
    screen.print(facts(_step(view)))


def _step(view: PresetView) -> Mapping[str, str]:
    counts = view.per_step
    return {
        "steps": f"{view.steps:,}",
        "captions a step": f"{counts.captions:,}",
        "images a step": f"{counts.images:,}",
        "global crops a step": f"{counts.global_crops:,}",
        "local crops a step": f"{counts.local_crops:,}",
        "tokens a step": f"{counts.tokens:,}",
        "masked tokens a step": f"{counts.masked_tokens:,}",
        "peak learning rate": f"{view.peak_learning_rate:g}, as it is: not scaled by batch or ranks",
    }
