"""`synfarm captions upload` and `files`: captions of one's own, which jobs take by name."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from synfarm.cli.counting import counted
from synfarm.cli.exits import CommandFailed, ExitCode
from synfarm.cli.farm import Farm
from synfarm.cli.options import Json, Quiet, on_farm
from synfarm.cli.screen import errors, output, say, write_json
from synfarm.cli.submission import cures_of_the_command
from synfarm.cli.tables import facts
from synfarm.cli.upload_names import name_of_a_file, upload_name

if TYPE_CHECKING:
    from synfarm.contracts.caption_files import CaptionFile, CaptionPart

__all__ = ["files", "upload"]


@on_farm
def upload(
    farm: Farm,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help='One caption a line, or {"text": …, "concept": …} a line; "-" reads stdin.'
        ),
    ],
    name: Annotated[
        str | None, typer.Option(help="By which jobs take it; the file's own without its ending unless told.")
    ] = None,
    jsonl: Annotated[
        bool | None,
        typer.Option("--jsonl/--text", help="Whether lines are JSON; as the name and the first line tell, by default."),
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Upload a file of captions. Its name goes to stdout; a job takes it by `--captions-file`."""
    named = upload_name(file, name)
    sent = 0

    def told(part: CaptionPart) -> None:
        nonlocal sent
        sent += part.lines
        if not quiet and not as_json:
            say(errors(), f"   {counted(sent, 'caption')} sent")

    from synfarm.sdk import BadCaptionLine

    source: Path | Iterable[str]
    source = io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8-sig", newline="\n") if str(file) == "-" else file
    with farm.client(patient=True) as client, cures_of_the_command():
        try:
            made = client.caption_files.upload(named, source, jsonl=jsonl, told=told)
        except BadCaptionLine as error:
            raise CommandFailed(f"{file}: {error}. Nothing was committed.", ExitCode.REFUSED) from error
        except UnicodeDecodeError as error:
            raise CommandFailed("stdin: is no UTF-8 text. Nothing was committed.", ExitCode.REFUSED) from error
        except OSError as error:
            raise CommandFailed(f"{file}: cannot be read: {error.strerror or error}.", ExitCode.REFUSED) from error
    if as_json:
        write_json(made)
        return
    say(output(), made.file)
    if not quiet:
        say(errors(), f"{counted(made.lines, 'caption')}. Make a job of them: {_job_of(made)}")


@on_farm
def files(
    farm: Farm,
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Tell of this one.")] = None,
    as_json: Json = False,
) -> None:
    """Names of your files of captions, one a line; or how far one of them is."""
    with farm.client() as client, cures_of_the_command():
        if name is None:
            listed = client.caption_files.list()
            if as_json:
                write_json(listed)
            for found in () if as_json else listed.items:
                say(output(), found)
            if not listed.items and not as_json:
                say(errors(), "No files yet. Make one: synfarm captions upload FILE --name NAME")
            return
        view = client.caption_files.get(name_of_a_file(name))
    if as_json:
        write_json(view)
        return
    state = "committed" if view.committed else f"not committed; part {view.parts} is the next: upload it again"
    output().print(facts({"file": view.file, "state": state, "captions": str(view.lines), "parts": str(view.parts)}))
    if view.committed:
        say(errors(), f"Make a job of them: {_job_of(view)}")


def _job_of(file: CaptionFile) -> str:
    return f"synfarm jobs submit --captions-file {file.file}"
