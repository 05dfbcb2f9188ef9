"""The `synfarm demo` command: its options, and where its output goes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from synfarm.cli.exits import CommandFailed, ExitCode
from synfarm.cli.farm import DEMO_FOLDER
from synfarm.cli.options import Json
from synfarm.cli.screen import errors, output, say, write_json

__all__ = ["demo"]


def demo(
    concepts: Annotated[
        str,
        typer.Option(
            metavar="N|FILE", help="How many of the set that ships; or a file of your own, one a line or JSON."
        ),
    ] = "48",
    captions: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="Captions wanted; a tenth more is planned for empty slots.")
    ] = 480,
    images: Annotated[
        int, typer.Option(min=2, max=16, help="Images per caption: what makes it one is learnt from two or more.")
    ] = 4,
    size: Annotated[int, typer.Option(min=32, max=256, help="Side of an image in pixels.")] = 64,
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps; the preset's own by default.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Decides every draw of the farm and the trainer.")] = 0,
    data_dir: Annotated[
        Path, typer.Option(help="Where everything is kept; must be empty, or a farm's folder.")
    ] = DEMO_FOLDER,
    fresh: Annotated[bool, typer.Option("--fresh", help="Remove everything in the folder first.")] = False,
    as_json: Json = False,
) -> None:
    """The whole chain on this machine: concepts, captions, images, a trained ViT, a report.

    Started again it goes on where it was; once finished it shows what it made. With other options it makes another job
    and run beside the first, in the same folder.
    """
    import asyncio

    from synfarm.cli.demo.command import run_demo
    from synfarm.cli.demo.options import DemoOptions
    from synfarm.cli.interrupts import run_interruptible
    from synfarm.telemetry import configure_logging

    options = DemoOptions(
        concepts=concepts,
        captions=captions,
        images=images,
        size=size,
        steps=steps,
        seed=seed,
        data_dir=data_dir,
        fresh=fresh,
    )
    # The services' logs have their own files; what this process logs beside its display is for trouble alone.
    configure_logging("error", "console", process="demo")
    try:
        work = run_demo(options, errors() if as_json else output())
        summary = run_interruptible(work, lambda: say(errors(), "stopping …"))
    except asyncio.CancelledError:
        raise CommandFailed(
            "the demo is stopped, nothing of it runs any more; start it again to go on where it was.",
            ExitCode.INTERRUPTED,
        ) from None
    if as_json:
        write_json(summary)
