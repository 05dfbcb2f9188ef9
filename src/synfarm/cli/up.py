"""`synfarm up`: the whole farm of this machine, kept for use by REST, by the other commands and in the browser."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from synfarm.cli.exits import CommandFailed, ExitCode
from synfarm.cli.farm import STACK_FOLDER
from synfarm.cli.on_path import say_activation
from synfarm.cli.options import DataDir, Json
from synfarm.cli.screen import errors, output, say, write_json

if TYPE_CHECKING:
    from synfarm.local.state import StackState

__all__ = ["tell_addresses", "up"]

Port = Annotated[int | None, typer.Option("--port", min=1, max=65535, help="Of the caption API and its web page.")]
TrainerPort = Annotated[int | None, typer.Option("--trainer-port", min=1, max=65535, help="Of the trainer's API.")]


def up(
    port: Port = None,
    trainer_port: TrainerPort = None,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Run it in the background; return when it is ready.")
    ] = False,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Start the farm of this machine and keep it: URLs, key and web page's address go to stdout.

    It listens on 127.0.0.1 only, on free ports unless they are named. Jobs and runs in its folder go on where they
    were. Ctrl-C (or `synfarm down`) stops it; what it has made stays.
    """
    from synfarm.local.finding import Condition, look

    root = data_dir or STACK_FOLDER
    found = look(root)
    if found.condition is Condition.RUNNING and found.state is not None:
        _check_same_ports(found.state, port, trainer_port)
        say(errors(), f"The farm in {found.folder.root} is up already (process {found.pid}).")
        tell_addresses(found.state, as_json=as_json)
        return
    if detach:
        from synfarm.cli.detached import start_detached

        state = start_detached(root, port, trainer_port)
        tell_addresses(state, as_json=as_json)
        where = f" --data-dir {root}" if data_dir else ""
        say(errors(), f"It runs in the background: synfarm status{where}, synfarm logs -f{where}, synfarm down{where}")
        return
    _in_foreground(root, port, trainer_port, as_json=as_json)


def _in_foreground(root: Path, port: int | None, trainer_port: int | None, *, as_json: bool) -> None:
    import asyncio

    from synfarm.cli.display import PlainDisplay
    from synfarm.cli.interrupts import run_interruptible
    from synfarm.local.stack import run_stack
    from synfarm.telemetry import configure_logging

    configure_logging("error", "console", process="up")
    display, is_ready = PlainDisplay(errors()), asyncio.Event()

    async def serve() -> None:
        display.stage(f"starting the farm in {root} (its logs: {root / 'logs'})")
        async with run_stack(root, api_port=port, trainer_port=trainer_port, on_change=display.process) as stack:
            is_ready.set()
            tell_addresses(stack.state, as_json=as_json)
            display.stage("ready; Ctrl-C stops it")
            await stack.supervisor.guard(asyncio.Event().wait())

    try:
        run_interruptible(serve(), lambda: say(errors(), "stopping …"))
    except asyncio.CancelledError:
        if not is_ready.is_set():
            raise CommandFailed("interrupted; nothing runs any more.", ExitCode.INTERRUPTED) from None
        say(errors(), "Stopped. What it has made is kept; `synfarm up` goes on.")


def _check_same_ports(state: StackState, port: int | None, trainer_port: int | None) -> None:
    for option, wanted, url in (("--port", port, state.api_url), ("--trainer-port", trainer_port, state.trainer_url)):
        if wanted is not None and not url.endswith(f":{wanted}"):
            raise CommandFailed(
                f"{option} {wanted}: the farm is up already, at {url}. Stop it first: synfarm down", ExitCode.REFUSED
            )


def tell_addresses(state: StackState, *, as_json: bool = False) -> None:
    """Where a ready stack listens, and its key, on stdout; as JSON the key's file only."""
    if as_json:
        write_json(state)
        return
    key = state.key_file.read_text().strip()
    read_key = f"$(cat {shlex.quote(str(state.key_file))})"
    rows = {
        "web page": f"{state.api_url}/",
        "API": f"{state.api_url}/v1 (described at {state.api_url}/docs)",
        "trainer": f"{state.trainer_url}/v1 (described at {state.trainer_url}/docs)",
        "key": f"{key} (in {state.key_file})",
        "for curl": f"export API={state.api_url} TRAINER={state.trainer_url} KEY={read_key}",
    }
    out, width = output(), max(map(len, rows))
    for name, value in rows.items():
        # Not a table, which folds at the terminal's width: these lines are there to be copied.
        out.print(Text.assemble((name.ljust(width), "bold"), " ", value), soft_wrap=True)
    say_activation(errors())
