"""`synfarm jobs`: make jobs of one's own concepts, look at them, steer them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from synfarm.cli.caption_report import report
from synfarm.cli.concept_source import read_concepts
from synfarm.cli.farm import Farm
from synfarm.cli.identify import JobArgument, job_id
from synfarm.cli.options import Json, Quiet, Watch, on_farm
from synfarm.cli.screen import errors, output, say, write_json
from synfarm.cli.submission import Draw, LaneName, Renderer, cures_of_the_command, job_request
from synfarm.cli.tables import job_facts, jobs_table, plan_facts
from synfarm.cli.watching import watch_job

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Jobs: captions and images of your concepts.")
app.command()(report)

_WHAT, _HOW = "What to make", "How to submit"


@app.command()
@on_farm
def submit(
    farm: Farm,
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="Concepts, one a line, or a JSON list; '-' reads stdin."),
    ] = None,
    concept: Annotated[
        list[str] | None,
        typer.Option("--concept", "-c", help="A concept (repeat it); 'dog: puppy, hound' with other words for it."),
    ] = None,
    captions: Annotated[
        int | None, typer.Option(min=1, help="Captions planned; ten a concept unless told.", rich_help_panel=_WHAT)
    ] = None,
    images: Annotated[int, typer.Option(min=1, max=64, help="Images a caption.", rich_help_panel=_WHAT)] = 4,
    size: Annotated[
        int, typer.Option(min=32, max=2048, help="Side of an image in pixels.", rich_help_panel=_WHAT)
    ] = 256,
    draw: Annotated[
        Draw,
        typer.Option(
            help="uniform: a concept by chance for each caption; balanced: all equally often.", rich_help_panel=_WHAT
        ),
    ] = "uniform",
    renderer: Annotated[Renderer, typer.Option(help="What draws the images.", rich_help_panel=_WHAT)] = "collage",
    model: Annotated[
        str | None, typer.Option(help="diffusers: the model's hub id or folder.", rich_help_panel=_WHAT)
    ] = None,
    revision: Annotated[str | None, typer.Option(help="diffusers: its revision.", rich_help_panel=_WHAT)] = None,
    family: Annotated[
        str | None, typer.Option(help="diffusers: its family, for example sd15.", rich_help_panel=_WHAT)
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Decides every draw.", rich_help_panel=_WHAT)] = 0,
    name: Annotated[str, typer.Option(help="For people.", rich_help_panel=_WHAT)] = "job",
    lane: Annotated[LaneName, typer.Option(help="Priority among jobs.", rich_help_panel=_HOW)] = "normal",
    idempotency_key: Annotated[
        str | None,
        typer.Option(help="The same key and request give the same job, however often sent.", rich_help_panel=_HOW),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the plan and the first prompts; make nothing.", rich_help_panel=_HOW)
    ] = False,
    watch: Watch = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Make a job. Its id goes to stdout; `--watch` follows it to its end."""
    request = job_request(
        read_concepts(file, concept or ()),
        captions=captions,
        images=images,
        size=size,
        draw=draw,
        renderer=renderer,
        model=model,
        revision=revision,
        family=family,
        seed=seed,
        name=name,
        lane=lane,
    )
    if dry_run:
        with farm.client() as client, cures_of_the_command():
            plan = client.jobs.plan(request)
        write_json(plan) if as_json else output().print(plan_facts(plan))
        return
    with farm.client() as client, cures_of_the_command():
        view = client.jobs.submit(request, idempotency_key=idempotency_key)
    if as_json:
        write_json(view)
    else:
        say(output(), view.job)
        if not quiet:
            concepts = f" of {len(request.concepts)} concepts" if request.concepts else ""
            say(errors(), f"{view.planned_captions} captions{concepts}, in {view.planned_units} units.")
            if not watch:
                say(errors(), f"Watch it: synfarm jobs watch {view.job}")
    if watch:
        watch_job(farm, view.job, as_json=as_json)


@app.command("list")
@on_farm
def list_jobs(
    farm: Farm,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=200, help="At most this many.")] = 20,
    cursor: Annotated[str | None, typer.Option(help="`next_cursor` of the page before.")] = None,
    as_json: Json = False,
) -> None:
    """Your jobs (an admin's: all), newest first."""
    with farm.client() as client:
        page = client.jobs.list(cursor=cursor, limit=limit)
    if as_json:
        write_json(page)
        return
    if not page.items:
        say(errors(), "No jobs yet. Make one: synfarm jobs submit --concept dog --concept apple --captions 40")
        return
    output().print(jobs_table(page.items))
    if page.next_cursor:
        say(errors(), f"There are more: synfarm jobs list --cursor {page.next_cursor}")


@app.command()
@on_farm
def show(farm: Farm, job: JobArgument, as_json: Json = False) -> None:
    """One job: its state, counts, and what was refused and why."""
    with farm.client() as client:
        view = client.jobs.get(job_id(client, job))
    write_json(view) if as_json else output().print(job_facts(view))


@app.command()
@on_farm
def watch(farm: Farm, job: JobArgument, as_json: Json = False) -> None:
    """Follow a job to its end; Ctrl-C ends the watching, not the job. Exit code 1 unless it completes."""
    with farm.client() as client:
        found = client.jobs.get(job_id(client, job)).job
    watch_job(farm, found, as_json=as_json)


@app.command()
@on_farm
def cancel(farm: Farm, job: JobArgument, as_json: Json = False) -> None:
    """End a job for good; what it has made stays."""
    with farm.client() as client:
        view = client.jobs.cancel(job_id(client, job))
    write_json(view) if as_json else say(output(), f"job {view.job}: {view.state.value}")


@app.command()
@on_farm
def pause(farm: Farm, job: JobArgument, as_json: Json = False) -> None:
    """Send no more of a job's units; those in work are handed back."""
    with farm.client() as client:
        view = client.jobs.pause(job_id(client, job))
    write_json(view) if as_json else say(output(), f"job {view.job}: {view.state.value}")


@app.command()
@on_farm
def resume(farm: Farm, job: JobArgument, as_json: Json = False) -> None:
    """Go on with a paused job."""
    with farm.client() as client:
        view = client.jobs.resume(job_id(client, job))
    write_json(view) if as_json else say(output(), f"job {view.job}: {view.state.value}")
