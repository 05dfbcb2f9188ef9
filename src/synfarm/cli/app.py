"""The command line's root: which commands there are."""

from __future__ import annotations

from typing import Annotated

import typer

from synfarm.cli import captions, concepts, evaluate, jobs, render, runs
from synfarm.cli.backgrounds import entry as backgrounds
from synfarm.cli.backup import backup, restore
from synfarm.cli.demo.entry import demo
from synfarm.cli.down import down
from synfarm.cli.exits import EXIT_CODES
from synfarm.cli.export import export
from synfarm.cli.gc import gc
from synfarm.cli.group import CommandGroup
from synfarm.cli.importing import import_images
from synfarm.cli.logs import logs
from synfarm.cli.redraw import redraw
from synfarm.cli.report import report
from synfarm.cli.samples import samples
from synfarm.cli.scale import plan
from synfarm.cli.screen import open_closed_streams
from synfarm.cli.status import status
from synfarm.cli.up import up
from synfarm.cli.verify import verify
from synfarm.cli.workers import workers

__all__ = ["app", "main"]

_HERE, _FARM, _STORE = "The farm of this machine", "Any farm", "The object store itself"

app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    # Tracebacks of errors that nobody foresaw are bugs: they are shown as Python shows them, without values of locals.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Train vision models from synthetic captions and images.",
    epilog=EXIT_CODES,
)


def _version(wanted: bool) -> None:
    if wanted:
        # Fifty milliseconds of imports that no other command needs.
        from importlib.metadata import version as package_version

        typer.echo(package_version("synfarm"))
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the installed version.")
    ] = False,
) -> None:
    """Train vision models from synthetic captions and images."""


def _print_version() -> None:
    """Print the installed version."""
    _version(True)


for _command in (demo, up, down, status, logs):
    app.command(rich_help_panel=_HERE)(_command)
app.add_typer(render.app, name="render", rich_help_panel=_HERE)
app.add_typer(evaluate.app, name="eval", rich_help_panel=_HERE)
app.add_typer(jobs.app, name="jobs", rich_help_panel=_FARM)
app.add_typer(runs.app, name="runs", rich_help_panel=_FARM)
app.add_typer(captions.app, name="captions", rich_help_panel=_FARM)
app.add_typer(concepts.app, name="concepts", rich_help_panel=_FARM)
app.add_typer(backgrounds.app, name="backgrounds", rich_help_panel=_FARM)
for _command in (samples, redraw, report, workers):
    app.command(rich_help_panel=_FARM)(_command)
for _care in (verify, gc, export, backup, restore):
    app.command(rich_help_panel=_STORE)(_care)
app.command("import", rich_help_panel=_STORE)(import_images)
app.command(rich_help_panel="No farm")(plan)
app.command("version")(_print_version)


def main() -> None:
    """Entry point of the installed command."""
    open_closed_streams()
    app(prog_name="synfarm")
