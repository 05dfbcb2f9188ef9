"""`synfarm backgrounds list` and `show`: the settings that ship; they ask no farm."""

from __future__ import annotations

from typing import Annotated

import typer

from synfarm.cli.exits import CommandFailed, ExitCode
from synfarm.cli.options import Json
from synfarm.cli.screen import errors, output, say, write_json
from synfarm.cli.tables import table

__all__ = ["list_sets", "show"]


def list_sets(as_json: Json = False) -> None:
    """The sets whose concepts have settings that ship with synfarm, and how many."""
    from synfarm.concepts import set_names
    from synfarm.concepts.backgrounds import shipped

    found = {name: shipped(name) for name in set_names()}
    found = {name: backgrounds for name, backgrounds in found.items() if backgrounds.groups}
    if as_json:
        write_json({name: sum(map(len, backgrounds.groups)) for name, backgrounds in found.items()})
        return
    rows = table(
        "set",
        "concepts",
        "with settings",
        "lists",
        "settings",
        right=("concepts", "with settings", "lists", "settings"),
    )
    for name, backgrounds in found.items():
        having = sum(group >= 0 for group in backgrounds.of)
        settings = sum(map(len, backgrounds.groups))
        rows.add_row(name, str(len(backgrounds.of)), str(having), str(len(backgrounds.groups)), str(settings))
    output().print(rows)
    say(errors(), "Make your own for any concept: synfarm backgrounds make dog 'red panda' -o backgrounds.json")


def show(
    name: Annotated[str, typer.Argument(metavar="SET", help="As `synfarm backgrounds list` names it.")],
    find: Annotated[
        str | None, typer.Option("--find", "-f", metavar="TEXT", help="Those that hold this text, or whose list does.")
    ] = None,
    as_json: Json = False,
) -> None:
    """The settings that ship for a set, list by list."""
    from synfarm.concepts import UnknownConceptSet
    from synfarm.concepts.backgrounds import shipped

    try:
        found = shipped(name)
    except UnknownConceptSet as error:
        raise CommandFailed(f"There is {error}.", ExitCode.NOT_FOUND) from error
    wanted = (find or "").casefold()
    lists = {
        title: [setting for setting in settings if wanted in title.casefold() or wanted in setting.casefold()]
        for title, settings in zip(found.names, found.groups, strict=True)
    }
    lists = {title: settings for title, settings in lists.items() if settings}
    if as_json:
        write_json(lists)
        return
    if not lists:
        none = "No settings ship for" if find is None or not found.groups else f"Nothing holds {find!r} in"
        say(errors(), f"{none} {name}; `synfarm backgrounds make --set {name} -o FILE` makes some.")
        return
    rows = table("list", "setting")
    for title, settings in lists.items():
        for place, setting in enumerate(settings):
            rows.add_row(title if place == 0 else "", setting)
    output().print(rows)
    say(errors(), f"{sum(map(len, lists.values()))} settings in {len(lists)} lists.")
