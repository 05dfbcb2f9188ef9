"""`synfarm captions`: ask the language model for a few captions before a job is made of thousands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from synfarm.cli.concept_source import read_concepts
from synfarm.cli.exits import CommandFailed, ExitCode
from synfarm.cli.farm import Farm
from synfarm.cli.options import Json, on_farm
from synfarm.cli.screen import errors, output, say, write_json
from synfarm.cli.submission import fault_in_words
from synfarm.cli.tables import table

if TYPE_CHECKING:
    from synfarm.contracts.tries import TryAnswer

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Captions: try prompts before a job is made.")

_HOW = "How to ask"


@app.callback()
def _group() -> None:
    """Captions: try prompts before a job is made."""


@app.command("try")
@on_farm
def try_captions(
    farm: Farm,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CONCEPT]...", help="Concepts; 'dog: puppy, hound' with other words for it."),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", metavar="FILE", help="Concepts, one a line; '-' reads stdin.")
    ] = None,
    captions: Annotated[int, typer.Option("--captions", "-n", min=1, max=16, help="Captions a concept.")] = 4,
    seed: Annotated[int, typer.Option(min=0, help="Decides every draw.")] = 0,
    temperature: Annotated[
        float | None, typer.Option(help="Of the language model; the paper's unless told.", rich_help_panel=_HOW)
    ] = None,
    top_p: Annotated[
        float | None, typer.Option(help="Of the language model; the paper's unless told.", rich_help_panel=_HOW)
    ] = None,
    prompts: Annotated[bool, typer.Option("--prompts", help="Show each prompt too.")] = False,
    as_json: Json = False,
) -> None:
    """A few captions without redraws, and what the quality gate says of them. Nothing is stored."""
    from pydantic import ValidationError

    from synfarm.contracts.tries import TryRequest

    settings = {"temperature": temperature, "top_p": top_p}
    concepts = read_concepts(file, words or (), by_word="")
    try:
        request = TryRequest.model_validate(
            {
                "concepts": [concept.model_dump() for concept in concepts],
                "n": captions,
                "seed": seed,
                "caption": {name: value for name, value in settings.items() if value is not None},
            }
        )
    except ValidationError as error:
        raise CommandFailed(fault_in_words(error), ExitCode.REFUSED) from error
    with farm.client() as client:
        answer = client.try_captions(request)
    if as_json:
        write_json(answer)
        return
    _show(answer, prompts=prompts)


def _show(answer: TryAnswer, *, prompts: bool) -> None:
    rows = table("concept", "caption", "refused")
    for item in answer.items:
        rows.add_row(item.concept, item.text or " ".join(item.answer.split()) or "(nothing)", item.refused or "")
        if prompts:
            rows.add_row("", item.prompt, "", style="dim")
    output().print(rows)
    kept = sum(item.text is not None for item in answer.items)
    say(
        errors(),
        f"{kept} of {len(answer.items)} kept; written by {answer.llm_model}. A job draws again what is refused.",
    )
