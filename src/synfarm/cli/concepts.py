"""`synfarm concepts`: which concept sets a farm knows, and what is in them."""

from __future__ import annotations

from typing import Annotated

import typer

from synfarm.cli.farm import Farm
from synfarm.cli.options import Json, on_farm
from synfarm.cli.screen import errors, output, say, write_json
from synfarm.cli.tables import table

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Concepts: the sets that a farm knows by name.")


@app.command("list")
@on_farm
def list_sets(farm: Farm, as_json: Json = False) -> None:
    """Names of the concept sets, one a line."""
    with farm.client() as client:
        names = client.concept_sets()
    if as_json:
        write_json(names)
        return
    for name in names:
        say(output(), name)


@app.command()
@on_farm
def show(
    farm: Farm,
    name: Annotated[str, typer.Argument(metavar="SET", help="As `synfarm concepts list` names it.")],
    find: Annotated[
        str | None, typer.Option("--find", "-f", metavar="TEXT", help="Those whose name or synonyms hold this text.")
    ] = None,
    as_json: Json = False,
) -> None:
    """The concepts of a set with their other names."""
    with farm.client() as client:
        found = client.concept_set(name)
    if find is not None:
        wanted = find.casefold()
        kept = [c for c in found.concepts if any(wanted in word.casefold() for word in (c.name, *c.synonyms))]
        found = found.model_copy(update={"concepts": tuple(kept)})
    if as_json:
        write_json(found)
        return
    if not found.concepts:
        say(errors(), f"Nothing in {name} holds {find!r}.")
        return
    rows = table("concept", "kind", "other names")
    for concept in found.concepts:
        rows.add_row(concept.name, concept.kind.value, ", ".join(concept.synonyms))
    output().print(rows)
    say(errors(), f"{len(found.concepts)} concepts.")
