"""Options that many commands share, and the decorator that gives a command those which name its farm."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from synfarm.cli.farm import Farm

__all__ = ["DataDir", "Json", "Quiet", "Watch", "on_farm"]

_PANEL = "Which farm"

Json = Annotated[bool, typer.Option("--json", help="JSON on stdout and nothing else, for scripts.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print the id alone.")]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Then watch it until it has ended.")]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        envvar="SYNFARM_DATA_DIR",
        show_envvar=True,
        help="The stack's folder; by default synfarm-data, or demo, whichever runs.",
    ),
]


def _option(name: str, kind: Any, *declaration: str, **more: Any) -> inspect.Parameter:
    annotation = Annotated[kind | None, typer.Option(*declaration, rich_help_panel=_PANEL, **more)]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


_NAMING = (
    _option("url", str, "--url", metavar="URL", help="The caption API; else SYNFARM_API_URL, else a stack nearby."),
    _option("trainer_url", str, "--trainer-url", metavar="URL", help="The trainer's API; else SYNFARM_TRAINER_URL."),
    _option("key", str, "--key", help="Bearer key (others may see it in the process list: prefer a file)."),
    _option("key_file", Path, "--key-file", help="File with the key; else SYNFARM_API_KEY or SYNFARM_API_KEY_FILE."),
    _option(
        "data_dir",
        Path,
        "--data-dir",
        envvar="SYNFARM_DATA_DIR",
        show_envvar=False,
        help="Folder of a stack on this machine; by default synfarm-data or demo, whichever runs.",
    ),
)


def on_farm(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose first parameter is the farm: its user names it by `--url`, `--key` … or not at all."""
    signature = inspect.signature(command, eval_str=True)
    names = [parameter.name for parameter in _NAMING]

    @functools.wraps(command)
    def with_farm(**given: Any) -> None:
        command(Farm(**{name: given.pop(name) for name in names}), **given)

    own = list(signature.parameters.values())[1:]
    parameters = sorted([*own, *_NAMING], key=lambda parameter: parameter.kind)
    # What typer reads: the command's own parameters, and those above instead of the farm.
    with_farm.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    with_farm.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return with_farm
