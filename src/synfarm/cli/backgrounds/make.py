"""`synfarm backgrounds make`: settings of one's own concepts, by the farm's language model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from synfarm.cli.backgrounds.place import alone_with
from synfarm.cli.backgrounds.stored import BackgroundFile
from synfarm.cli.concept_source import read_concepts
from synfarm.cli.exits import CommandFailed, ExitCode
from synfarm.cli.farm import Farm
from synfarm.cli.options import Json, on_farm
from synfarm.cli.screen import errors, say, write_json
from synfarm.cli.submission import fault_in_words

if TYPE_CHECKING:
    from rich.console import Console

    from synfarm.cli.backgrounds.filling import Made, Wish
    from synfarm.contracts.concepts import Concept

__all__ = ["make"]

_HOW = "How to ask"


@on_farm
def make(
    farm: Farm,
    out: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE", help="JSON; what is in it already is kept and gone on with."),
    ],
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CONCEPT]...", help="Concepts; 'dog: puppy, hound' with other words for it."),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", metavar="FILE", help="Concepts, one a line; '-' reads stdin.")
    ] = None,
    named: Annotated[
        str | None,
        typer.Option("--set", metavar="NAME", help="The concepts of a set, as `synfarm concepts list` has it."),
    ] = None,
    wanted: Annotated[int, typer.Option("--settings", "-n", min=1, max=200, help="Settings a concept.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Decides every question.")] = 0,
    rounds: Annotated[
        int, typer.Option(min=1, help="Of four questions; at most so many a concept.", rich_help_panel=_HOW)
    ] = 16,
    at_once: Annotated[
        int,
        typer.Option(
            min=1,
            max=64,
            help="Concepts that are asked about together; above 4 if the API's SYNFARM_CAPTION_ASKS_AT_ONCE allows.",
            rich_help_panel=_HOW,
        ),
    ] = 4,
    temperature: Annotated[
        float | None, typer.Option(help="Of the language model; 0.8 unless told.", rich_help_panel=_HOW)
    ] = None,
    top_p: Annotated[
        float | None, typer.Option(help="Of the language model; 0.9 unless told.", rich_help_panel=_HOW)
    ] = None,
    as_json: Json = False,
) -> None:
    """Ask the language model for settings of each concept; FILE is what a job takes as `backgrounds`.

    Each answer is stored at once, and the same command again goes on with the concepts that are missing or short.
    """
    from synfarm.cli.backgrounds.filling import Wish

    options = {"seed": seed, "temperature": temperature, "top_p": top_p}
    wish = Wish(wanted, rounds, {name: value for name, value in options.items() if value is not None})
    # Read only now that nobody else writes it: what another command has added would be lost.
    with alone_with(out):
        store = BackgroundFile(out)
        concepts = _objects(_concepts(farm, words or (), file, named))
        _check(wish)
        made, model = _made(farm, concepts, store, wish, at_once)
    if as_json:
        write_json({"file": str(out), "items": [_item(one) for one in made], "llm_model": model})
    else:
        _tell(made, wish, out, model)
    if not any(one.settings for one in made):
        raise CommandFailed(f"nothing was written to {out}.")


def _made(
    farm: Farm, concepts: Sequence[Concept], store: BackgroundFile, wish: Wish, at_once: int
) -> tuple[list[Made], str | None]:
    """What became of each concept, and the model's name; None if nothing had to be asked.

    Raises:
        CommandFailed: a signal ended it.
    """
    from asyncio import CancelledError

    from synfarm.cli.backgrounds.filling import Made, fill
    from synfarm.cli.interrupts import run_interruptible

    before = [Made.before(concept, store) for concept in concepts]
    kept = sum(one.kept >= wish.n for one in before)
    screen = errors()
    if kept:
        say(screen, f"{store.path}: {kept} of {len(concepts)} concepts have {wish.n} settings already; they are kept.")
    if kept == len(concepts):
        return before, None

    async def work(beat: Callable[[str], None] | None) -> tuple[list[Made], str | None]:
        async with farm.async_client("api") as client:
            return await fill(
                client, concepts, store, wish, at_once=at_once, told=lambda line: say(screen, f"   {line}"), beat=beat
            )

    try:
        with _heartbeat(screen) as beat:
            return run_interruptible(work(beat))
    except CancelledError:
        told = _stored(store) if store.grown else "nothing is stored yet; the same command begins again."
        raise CommandFailed(f"interrupted; {told}", ExitCode.INTERRUPTED) from None
    except Exception:
        if store.grown:
            say(errors(), f"It ended early; {_stored(store)}")
        raise


@contextmanager
def _heartbeat(screen: Console) -> Iterator[Callable[[str], None] | None]:
    """A line below all others that is written over again; None where there is no terminal."""
    if not screen.is_terminal:
        yield None
        return
    from rich.text import Text

    with screen.status(Text("")) as status:
        yield lambda line: status.update(Text(line))


def _stored(store: BackgroundFile) -> str:
    what = "what was answered before the last write" if store.unsaved else "what was answered"
    return f"{what} is in {store.path}, and the same command goes on."


def _item(one: Made) -> dict[str, object]:
    return {
        "concept": one.concept,
        "settings": one.settings,
        "new": one.new,
        "rounds": one.rounds,
        "refused": dict(one.refused),
        "ended": one.ended,
    }


def _concepts(farm: Farm, words: Sequence[str], file: Path | None, named: str | None) -> tuple[Concept, ...]:
    if named is None:
        return read_concepts(file, words, by_word="")
    if words or file is not None:
        raise CommandFailed("--set names the concepts: leave the others out.", ExitCode.REFUSED)
    with farm.client() as client:
        return client.concept_set(named).concepts


def _objects(concepts: tuple[Concept, ...]) -> tuple[Concept, ...]:
    """Those that are set before a background.

    Raises:
        CommandFailed: there are none.
    """
    from synfarm.contracts.concepts import ConceptKind

    found = tuple(concept for concept in concepts if concept.kind is ConceptKind.OBJECT)
    left_out = len(concepts) - len(found)
    if not found:
        raise CommandFailed("places and textures have no backgrounds: name objects.", ExitCode.REFUSED)
    if left_out:
        say(errors(), f"{left_out} places and textures have no backgrounds; they are left out.")
    return found


def _check(wish: Wish) -> None:
    """What the farm would say of the options, before anything is asked.

    Raises:
        CommandFailed: an option's value cannot be used.
    """
    from pydantic import ValidationError

    from synfarm.contracts.backgrounds import BackgroundsRequest

    try:
        BackgroundsRequest.model_validate({"concepts": ["thing"], "n": wish.n, **wish.options})
    except ValidationError as error:
        raise CommandFailed(fault_in_words(error), ExitCode.REFUSED) from error


def _tell(made: Sequence[Made], wish: Wish, out: Path, model: str | None) -> None:
    new = sum(one.new for one in made)
    asked = [one for one in made if one.rounds]
    short = [one for one in asked if one.settings < wish.n]
    refused = sum(sum(one.refused.values()) for one in made)
    written = (
        f"{new} settings of {new + refused} items kept, written by {model}" if asked else "nothing was to be asked"
    )
    say(errors(), f"{out}: {sum(one.settings for one in made)} settings of {len(made)} concepts; {written}.")
    dry = [one for one in short if one.ended == "dry"]
    if len(short) > len(dry):
        say(
            errors(),
            f"{len(short) - len(dry)} concepts have fewer than {wish.n} after --rounds: the same command goes on.",
        )
    if dry:
        say(
            errors(),
            f"{len(dry)} concepts have fewer than {wish.n}, for the model had no more to say, and nothing is made up: "
            "another --seed asks otherwise, a better model behind the farm writes more.",
        )
    empty = [one.concept for one in made if not one.settings]
    if empty:
        say(errors(), f"Not in the file, for they have none: {', '.join(empty[:8])}{' …' if len(empty) > 8 else ''}.")
