"""`synfarm report`: one page about a job and a run on it, as a file."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from synfarm.cli.exits import CommandFailed, ExitCode
from synfarm.cli.farm import Farm
from synfarm.cli.identify import LATEST, JobArgument, checked_id, job_id
from synfarm.cli.options import on_farm
from synfarm.cli.run_of_job import newest_run_on
from synfarm.cli.screen import errors, output, say
from synfarm.cli.submission import cures_of_the_command
from synfarm.whole_file import write_whole

if TYPE_CHECKING:
    from synfarm.contracts.views import JobView
    from synfarm.sdk import AsyncClient

__all__ = ["page_of", "report"]


async def page_of(
    client: AsyncClient,
    job: str,
    run: str | None,
    *,
    folder: Path | None = None,
    stages: Mapping[str, float] | None = None,
) -> bytes:
    """The page; ``folder`` is that of the stack it was made on, for the commands that the page gives.

    Raises:
        CommandFailed: the packages that draw it are not installed.
        SynfarmError: the job or the run does not answer.
    """
    try:
        from synfarm.report import Place, build_report
    except ModuleNotFoundError as error:
        raise CommandFailed(
            f"the report needs {error.name}: pip install 'synfarm[report]'.", ExitCode.REFUSED
        ) from error
    # The page may be read from another folder than the one in which it is made.
    root = _whole(folder) if folder else None
    place = Place(folder=root, start=f"synfarm up --data-dir {shlex.quote(root)}") if root else None
    return (await build_report(client, job=job, run=run, stages=stages, place=place)).encode()


def _whole(folder: Path) -> str:
    return os.path.abspath(folder)


def _run_on(farm: Farm, job: JobView, named: str | None) -> str | None:
    """The run to tell of, which is named on stderr unless the user named it."""
    if named is not None and named != LATEST:
        return checked_id(named, "run")
    with farm.client("trainer") as client:
        run = newest_run_on(client, job)
    if run is None and named is not None:
        raise CommandFailed(f"no run that you may see was trained on job {job.job}.", ExitCode.NOT_FOUND)
    if run is None:
        say(errors(), f"No run that you may see was trained on it: synfarm runs start {job.job}")
        return None
    say(errors(), f"With its newest run: {run.run} ({run.state.value}, step {run.step} of {run.total_steps})")
    return run.run


@on_farm
def report(
    farm: Farm,
    job: JobArgument,
    run: Annotated[
        str | None, typer.Option(metavar="RUN", help="The run that tells what was learnt; else the newest on the job.")
    ] = None,
    no_run: Annotated[bool, typer.Option("--no-run", help="Of the job alone.")] = False,
    out: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The HTML file.")] = Path("report.html"),
) -> None:
    """One HTML file that tells of a job and of a run on it: images, captions, refusals, curves, licences."""
    import asyncio

    if run is not None and no_run:
        raise CommandFailed("--run and --no-run: one or the other.", ExitCode.REFUSED)
    with farm.client() as client, cures_of_the_command():
        view = client.jobs.get(job_id(client, job))
    found = view.job
    trained = None if no_run else _run_on(farm, view, run)
    local = farm.address().folder

    async def build() -> bytes:
        async with farm.async_client("both" if trained else "api") as client:
            return await page_of(client, found, trained, folder=local)

    write_whole(out, asyncio.run(build()))
    say(output(), str(out))
