"""`synfarm concepts upload` and `delete`: sets of one's own, stored once for many jobs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from synfarm.cli.concept_source import read_concepts
from synfarm.cli.counting import counted
from synfarm.cli.exits import CommandFailed, ExitCode
from synfarm.cli.farm import Farm
from synfarm.cli.options import Json, Quiet, on_farm
from synfarm.cli.prompt_files import read_backgrounds
from synfarm.cli.screen import errors, output, say, write_json
from synfarm.cli.submission import cures_of_the_command, fault_in_words
from synfarm.cli.upload_names import name_of_a_set, upload_name

__all__ = ["delete", "upload"]


@on_farm
def upload(
    farm: Farm,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="One concept a line, or a JSON list of them; '-' reads stdin.")
    ],
    name: Annotated[
        str | None, typer.Option(help="By which jobs take it; the file's own without its ending unless told.")
    ] = None,
    title: Annotated[str | None, typer.Option(help="A line that lists of sets show.")] = None,
    backgrounds: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="For c,bg: JSON, a list for all concepts, or lists by concept."),
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Store a set of your own, over the one of that name. Its name goes to stdout; a job takes it by `--set`.

    Jobs that were made of the set before stay as they are.
    """
    from pydantic import ValidationError

    from synfarm.contracts.concept_sets import ConceptSetRequest

    named = upload_name(file, name)
    concepts = read_concepts(file, ())
    body = {
        "concepts": concepts,
        "title": title,
        "backgrounds": None if backgrounds is None else read_backgrounds(backgrounds, concepts),
    }
    try:
        request = ConceptSetRequest.model_validate({key: value for key, value in body.items() if value is not None})
    except ValidationError as error:
        raise CommandFailed(fault_in_words(error), ExitCode.REFUSED) from error
    with farm.client(patient=True) as client, cures_of_the_command():
        made = client.put_concept_set(named, request)
    if as_json:
        write_json(made)
        return
    say(output(), made.name)
    if not quiet:
        say(errors(), f"{counted(made.concepts, 'concept')}. Make a job of them: synfarm jobs submit --set {made.name}")


@on_farm
def delete(
    farm: Farm,
    name: Annotated[str, typer.Argument(metavar="SET", help="One of your own; `synfarm concepts list` marks them.")],
) -> None:
    """Delete a set of your own. Jobs that were made of it keep all that they need."""
    with farm.client() as client, cures_of_the_command():
        client.delete_concept_set(name_of_a_set(name))
    say(output(), f"set {name}: deleted")
