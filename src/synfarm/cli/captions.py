"""`synfarm captions`: ask the language model for a few before a job is made of thousands; bring one's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING, Annotated

import typer
from rich.cells import cell_len

from synfarm.cli.asking import Asking
from synfarm.cli.caption_files import files, upload
from synfarm.cli.concept_source import read_concepts
from synfarm.cli.exits import CommandFailed, ExitCode
from synfarm.cli.farm import Farm
from synfarm.cli.option_groups import with_groups
from synfarm.cli.options import Json, on_farm
from synfarm.cli.screen import errors, output, say, write_json
from synfarm.cli.submission import cures_of_the_command, fault_in_words
from synfarm.cli.tables import table

if TYPE_CHECKING:
    from rich.console import Console

    from synfarm.contracts.tries import TryAnswer

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True, help="Captions: try prompts before a job is made, and bring captions of your own."
)


@app.command("try")
@on_farm
@with_groups
def try_captions(
    farm: Farm,
    asking: Asking,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CONCEPT]...", help="Concepts; 'dog: puppy, hound' with other words for it."),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", metavar="FILE", help="Concepts, one a line; '-' reads stdin.")
    ] = None,
    captions: Annotated[
        int, typer.Option("--captions", "-n", min=1, max=64, help="Captions a concept; of a set or mix in all.")
    ] = 4,
    prompts: Annotated[bool, typer.Option("--prompts", help="Show each prompt too.")] = False,
    as_json: Json = False,
) -> None:
    """A few captions without redraws, and what the quality gate says of them. Nothing is stored."""
    from pydantic import ValidationError

    from synfarm.contracts.tries import TryRequest

    named = asking.named
    if len(named) + bool(words or file) > 1:
        both = " and ".join([*(["concepts"] if words or file else []), *named])
        raise CommandFailed(f"say what to caption in one way: {both} exclude each other.", ExitCode.REFUSED)
    others = "a set, mix or variant: --set, --mix, --variant"
    concepts = () if named else read_concepts(file, words or (), by_word="", others=others)
    try:
        request = TryRequest.model_validate({**asking.body(concepts), "n": captions})
    except ValidationError as error:
        raise CommandFailed(fault_in_words(error), ExitCode.REFUSED) from error
    with farm.client() as client, cures_of_the_command():
        answer = client.try_captions(request)
    if as_json:
        write_json(answer)
        return
    _show(answer, prompts=prompts)


def _show(answer: TryAnswer, *, prompts: bool) -> None:
    seconds = any(item.second for item in answer.items)
    names = ("concept", *(("template", "second") if seconds else ()), "text", "refused")
    rows = [
        (
            item.concept,
            *((item.template.value, item.second or "") if seconds else ()),
            item.text or " ".join(item.answer.split()) or "(nothing)",
            item.refused or "",
        )
        for item in answer.items
    ]
    screen = output()
    if prompts:
        _with_prompts(screen, names, rows, [item.prompt for item in answer.items])
    else:
        made = table(*names)
        for row in rows:
            made.add_row(*row)
        screen.print(made)
    for note in answer.notes:
        say(errors(), note, "yellow")
    kept = sum(item.text is not None for item in answer.items)
    say(
        errors(),
        f"{kept} of {len(answer.items)} kept; written by {answer.llm_model}. A job draws again what is refused.",
    )


def _with_prompts(screen: Console, names: Sequence[str], rows: Sequence[Sequence[str]], prompts: Sequence[str]) -> None:
    """Each row with its prompt below, as wide as the screen: in a cell examples would be folded beyond recognition."""
    most = 14 if screen.width < 110 else 40
    widths = [min(most, max(map(cell_len, (name, *of)))) for name, *of in zip(names, *rows, strict=True)]
    for place, (row, prompt) in enumerate(zip(rows, prompts, strict=True)):
        made = table(*names)
        # Tables of one row each stand as one below the other.
        made.show_header, made.expand = place == 0, True
        for column, width in zip(made.columns, widths, strict=True):
            if column.header == "text":
                column.ratio = 1
            else:
                column.width = width
        made.add_row(*row)
        screen.print(made)
        say(screen, indent(prompt, "   "), "dim")


for _command in (upload, files):
    app.command()(_command)
