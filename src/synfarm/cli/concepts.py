"""`synfarm concepts`: which concept sets there are, shipped and own, and what is in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from synfarm.cli.counting import counted
from synfarm.cli.farm import Farm
from synfarm.cli.options import Json, on_farm
from synfarm.cli.own_sets import delete, upload
from synfarm.cli.screen import errors, output, say, write_json
from synfarm.cli.submission import cures_of_the_command
from synfarm.cli.tables import table
from synfarm.cli.upload_names import name_of_a_set

if TYPE_CHECKING:
    from synfarm.contracts.pages import ConceptSet

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Concepts: the sets that ship, and sets of your own.")


@app.command("list")
@on_farm
def list_sets(farm: Farm, as_json: Json = False) -> None:
    """The concept sets with their sizes, yours marked; `synfarm jobs submit --set NAME` draws from one."""
    with farm.client() as client:
        found = client.concept_set_infos()
    if as_json:
        write_json(found)
        return
    rows = table("set", "concepts", "kinds", "what it is", right=("concepts",))
    for info in found.items:
        what = ": ".join(filter(None, ("yours", info.title))) if info.own else info.title
        rows.add_row(info.name, str(info.concepts), ", ".join(kind.value for kind in info.kinds), what)
    output().print(rows)


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
    with farm.client() as client, cures_of_the_command():
        found = client.concept_set(name_of_a_set(name))
    if find is not None:
        found = _holding(found, find)
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
    say(errors(), f"{counted(len(found.concepts), 'concept')}{' in a set of yours' if found.own else ''}.")


@app.command()
@on_farm
def find(
    farm: Farm,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="Part of a name or of another name.")],
    as_json: Json = False,
) -> None:
    """The concepts of all sets whose name or synonyms hold a text."""
    with farm.client() as client:
        sets = [_holding(client.concept_set(name), text) for name in client.concept_sets()]
    found = [each for each in sets if each.concepts]
    if as_json:
        write_json(found)
        return
    if not found:
        say(errors(), f"No set holds {text!r}.")
        return
    rows = table("set", "concept", "kind", "other names")
    for each in found:
        for concept in each.concepts:
            rows.add_row(each.name, concept.name, concept.kind.value, ", ".join(concept.synonyms))
    output().print(rows)
    concepts = counted(sum(len(each.concepts) for each in found), "concept")
    say(errors(), f"{concepts} in {counted(len(found), 'set')}.")


for _command in (upload, delete):
    app.command()(_command)


def _holding(found: ConceptSet, text: str) -> ConceptSet:
    """The set with those concepts alone whose name or synonyms hold the text."""
    wanted = text.casefold()
    kept = [c for c in found.concepts if any(wanted in word.casefold() for word in (c.name, *c.synonyms))]
    return found.model_copy(update={"concepts": tuple(kept)})
