"""Which commands `synfarm backgrounds` has."""

from __future__ import annotations

import typer

from synfarm.cli.backgrounds.make import make
from synfarm.cli.backgrounds.shipped import list_sets, show

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Backgrounds: settings in which concepts are plausible.")
app.command()(make)
app.command("list")(list_sets)
app.command()(show)
