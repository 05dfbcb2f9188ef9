"""`synfarm runs`: train on finished jobs, look at runs, stop them, go on with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from synfarm.cli.backbone_export import export_backbone
from synfarm.cli.evaluations import evals
from synfarm.cli.exits import CommandFailed, ExitCode
from synfarm.cli.farm import Farm
from synfarm.cli.identify import LATEST, RunArgument, checked_id, job_id, run_id
from synfarm.cli.options import Json, Quiet, Watch, on_farm
from synfarm.cli.overrides import read_overrides
from synfarm.cli.presets import presets
from synfarm.cli.run_comparison import compare
from synfarm.cli.screen import errors, output, say, write_json
from synfarm.cli.submission import cures_of_the_command, fault_in_words
from synfarm.cli.tables import run_facts, runs_table
from synfarm.cli.watching import say_report, watch_run

if TYPE_CHECKING:
    from synfarm.contracts.runs import RunRequest
    from synfarm.contracts.views import RunView
    from synfarm.sdk import Client

__all__ = ["app"]

_PAGE = 20

app = typer.Typer(no_args_is_help=True, help="Runs: networks trained on finished jobs.")


def _request(jobs: Sequence[str], settings: Sequence[str], weights: str, **fields: object) -> RunRequest:
    from pydantic import ValidationError

    from synfarm.contracts.runs import RunRequest

    body = {
        "jobs": list(jobs),
        "overrides": read_overrides(settings),
        "weights": [word.strip() for word in weights.split(",") if word.strip()],
        **fields,
    }
    try:
        return RunRequest.model_validate(body)
    except ValidationError as error:
        raise CommandFailed(fault_in_words(error), ExitCode.REFUSED) from error


def _started(client: Client, request: RunRequest) -> RunView:
    from synfarm.sdk import Refused

    try:
        return client.runs.start(request)
    except Refused as refusal:
        if refusal.code != "too_few_captions":
            raise
        # The trainer speaks of a request's overrides, which are this command's --set.
        cure = "Name a second job beside it, or take smaller batches: --set data.captions_per_batch=8"
        raise CommandFailed(f"{refusal.problem.detail} {cure}", ExitCode.REFUSED) from refusal


for _command in (presets, compare, evals):
    app.command()(_command)
app.command("export")(export_backbone)


@app.command()
@on_farm
def start(
    farm: Farm,
    jobs: Annotated[
        list[str],
        typer.Argument(metavar="JOB...", help="Jobs to train on, finished unless --follow is given; or 'latest'."),
    ],
    preset: Annotated[str, typer.Option(help="The configuration to begin with.")] = "tiny",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", metavar="NAME=VALUE", help="Change a field of it, for example optim.lr=0.001."),
    ] = None,
    name: Annotated[str, typer.Option(help="For people.")] = "run",
    seed: Annotated[int, typer.Option(min=0, help="Decides every draw.")] = 0,
    ranks: Annotated[int, typer.Option(min=1, help="Processes that train together.")] = 1,
    weights: Annotated[
        str, typer.Option(metavar="W,W...", help="How often captions of each job are drawn, for example 0.7,0.3.")
    ] = "",
    follow: Annotated[
        bool, typer.Option("--follow", help="Begin while jobs still render, and take in what they finish.")
    ] = False,
    watch: Watch = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Start a training run. Its id goes to stdout; `--watch` follows it to its end."""
    if LATEST in jobs:
        with farm.client() as client:
            jobs = [job_id(client, job) for job in jobs]
    jobs = [checked_id(job, "job") for job in jobs]
    fields = {"preset": preset, "name": name, "seed": seed, "ranks": ranks, "follow": follow}
    request = _request(jobs, settings or (), weights, **fields)
    with farm.client("trainer") as client, cures_of_the_command():
        view = _started(client, request)
    if as_json:
        write_json(view)
    else:
        say(output(), view.run)
        if not quiet and not watch:
            say(errors(), f"{view.total_steps} steps. Watch it: synfarm runs watch {view.run}")
    if watch:
        watch_run(farm, view.run, as_json=as_json)


@app.command("list")
@on_farm
def list_runs(
    farm: Farm,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=200, help="At most this many.")] = _PAGE,
    cursor: Annotated[str | None, typer.Option(help="`next_cursor` of the page before.")] = None,
    as_json: Json = False,
) -> None:
    """Your runs (an admin's: all), newest first."""
    with farm.client("trainer") as client, cures_of_the_command():
        page = client.runs.list(cursor=cursor, limit=limit)
    if as_json:
        write_json(page)
        return
    if not page.items:
        say(errors(), "No runs yet. Start one on a finished job: synfarm runs start JOB")
        return
    screen = output()
    screen.print(runs_table(page.items, screen))
    if page.next_cursor:
        of = "" if limit == _PAGE else f" -n {limit}"
        say(errors(), f"There are more: synfarm runs list{of} --cursor {page.next_cursor}")


@app.command()
@on_farm
def show(farm: Farm, run: RunArgument, as_json: Json = False) -> None:
    """One run: its step, losses, speed, checkpoints."""
    with farm.client("trainer") as client, cures_of_the_command():
        view = client.runs.get(run_id(client, run))
    if as_json:
        write_json(view)
        return
    output().print(run_facts(view))
    if view.state.is_final:
        say_report(view)
    else:
        say(errors(), f"Watch it: synfarm runs watch {view.run}")


@app.command()
@on_farm
def watch(farm: Farm, run: RunArgument, as_json: Json = False) -> None:
    """Follow a run to its end, with its curves where there is a terminal.

    Ctrl-C ends the watching, not the run. Exit code 1 unless it completes.
    """
    with farm.client("trainer") as client, cures_of_the_command():
        found = client.runs.get(run_id(client, run)).run
    watch_run(farm, found, as_json=as_json)


@app.command()
@on_farm
def stop(farm: Farm, run: RunArgument, as_json: Json = False) -> None:
    """End a run after a last checkpoint."""
    with farm.client("trainer") as client, cures_of_the_command():
        view = client.runs.stop(run_id(client, run))
    write_json(view) if as_json else say(output(), f"run {view.run}: {view.state.value}")


@app.command("weights")
@on_farm
def change_weights(
    farm: Farm,
    run: RunArgument,
    weights: Annotated[list[float], typer.Argument(metavar="W...", help="One a job, in the run's order: 0.7 0.3")],
    as_json: Json = False,
) -> None:
    """Change how often a run draws captions of each of its jobs. It saves, and goes on with the new weights."""
    with farm.client("trainer") as client, cures_of_the_command():
        view = client.runs.change_weights(run_id(client, run), weights)
    write_json(view) if as_json else say(output(), f"run {view.run}: weights {' '.join(map(str, view.weights))}")


@app.command()
@on_farm
def resume(farm: Farm, run: RunArgument, watch: Watch = False, as_json: Json = False) -> None:
    """Go on from the last checkpoint of a run that was stopped or failed. Killed runs do so by themselves."""
    with farm.client("trainer") as client, cures_of_the_command():
        view = client.runs.resume(run_id(client, run))
    if watch:
        watch_run(farm, view.run, as_json=as_json)
        return
    write_json(view) if as_json else say(output(), f"run {view.run}: {view.state.value}")
