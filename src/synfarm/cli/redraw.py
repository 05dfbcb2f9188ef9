"""`synfarm redraw`: an image of a job drawn again from its provenance."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from synfarm.cli.exits import CommandFailed, ExitCode
from synfarm.cli.farm import Farm
from synfarm.cli.identify import checked_id
from synfarm.cli.options import on_farm
from synfarm.cli.screen import output, say
from synfarm.cli.submission import cures_of_the_command

__all__ = ["redraw"]

_DRAWER = "synfarm_render_worker"
_IMPORTED = "import"


@on_farm
def redraw(
    farm: Farm,
    caption: Annotated[str, typer.Argument(metavar="CAPTION", help="A caption's id, as `synfarm samples` shows it.")],
    out: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Where the image goes.")],
    image: Annotated[int, typer.Argument(metavar="K", min=0, help="Which of its images, from 0.")] = 0,
) -> None:
    """Draw one image of a job again from its provenance, here, without the farm's workers."""
    if find_spec(_DRAWER) is None:
        raise CommandFailed(
            "drawing needs the render worker's packages: pip install 'synfarm[render-worker]'.", ExitCode.REFUSED
        )
    job, _, index = caption.partition("-")
    if len(index) != 10 or not index.isdigit():
        raise CommandFailed(f"{caption[:80]!r} is no caption id (JOB-0000000000).", ExitCode.REFUSED)
    with farm.client() as client, cures_of_the_command():
        group = client.jobs.sample(checked_id(job, "job"), caption)
    if group.meta.renderer == _IMPORTED:
        where = f"`synfarm export {job}` copies them"
        raise CommandFailed(f"the images of job {job} were imported, not drawn: {where}.", ExitCode.REFUSED)
    if image >= len(group.images):
        raise CommandFailed(f"caption {caption} has images 0 to {len(group.images) - 1}.", ExitCode.NOT_FOUND)
    command = [sys.executable, "-m", f"{_DRAWER}.redraw", "-", "--image", str(image), "--out", str(out)]
    done = subprocess.run(command, input=group.meta.to_bytes(), stderr=subprocess.PIPE, check=False)
    if done.returncode != 0:
        told = done.stderr.decode(errors="replace").strip().splitlines()
        raise CommandFailed(f"it could not be drawn: {told[-1] if told else 'no reason given'}")
    say(output(), str(out))
