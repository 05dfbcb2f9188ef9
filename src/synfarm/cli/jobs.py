"""`synfarm jobs`: make jobs of one's own concepts, look at them, steer them."""

from __future__ import annotations

from typing import Annotated

import typer

from synfarm.cli.caption_report import report
from synfarm.cli.farm import Farm
from synfarm.cli.identify import JobArgument, job_id
from synfarm.cli.job_contents import captions, failures, shards, spec
from synfarm.cli.options import Json, on_farm
from synfarm.cli.screen import errors, output, say, write_json
from synfarm.cli.steering import cancel, delete, extend, pause, resume, retry
from synfarm.cli.submission import cures_of_the_command
from synfarm.cli.submit import submit
from synfarm.cli.tables import job_facts, jobs_table
from synfarm.cli.watching import watch_job

__all__ = ["app"]

_PAGE = 20

app = typer.Typer(no_args_is_help=True, help="Jobs: captions and images of your concepts.")
app.command()(submit)


@app.command("list")
@on_farm
def list_jobs(
    farm: Farm,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=200, help="At most this many.")] = _PAGE,
    cursor: Annotated[str | None, typer.Option(help="`next_cursor` of the page before.")] = None,
    as_json: Json = False,
) -> None:
    """Your jobs (an admin's: all), newest first."""
    with farm.client() as client, cures_of_the_command():
        page = client.jobs.list(cursor=cursor, limit=limit)
    if as_json:
        write_json(page)
        return
    if not page.items:
        say(errors(), "No jobs yet. Make one: synfarm jobs submit --concept dog --concept apple --captions 40")
        return
    screen = output()
    screen.print(jobs_table(page.items, screen))
    if page.next_cursor:
        of = "" if limit == _PAGE else f" -n {limit}"
        say(errors(), f"There are more: synfarm jobs list{of} --cursor {page.next_cursor}")


@app.command()
@on_farm
def show(farm: Farm, job: JobArgument, as_json: Json = False) -> None:
    """One job: its state, counts, and what was refused and why."""
    with farm.client() as client, cures_of_the_command():
        view = client.jobs.get(job_id(client, job))
    write_json(view) if as_json else output().print(job_facts(view))


@app.command()
@on_farm
def watch(farm: Farm, job: JobArgument, as_json: Json = False) -> None:
    """Follow a job to its end; Ctrl-C ends the watching, not the job. Exit code 1 unless it completes."""
    with farm.client() as client, cures_of_the_command():
        found = client.jobs.get(job_id(client, job)).job
    watch_job(farm, found, as_json=as_json)


for _command in (spec, captions, failures, shards, report, cancel, pause, resume, retry, extend, delete):
    app.command()(_command)
