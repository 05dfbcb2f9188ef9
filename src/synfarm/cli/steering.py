"""`synfarm jobs cancel`, `pause`, `resume`, `retry`, `extend`, `delete`: what becomes of a job."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from synfarm.cli.counting import counted
from synfarm.cli.exits import CommandFailed, ExitCode
from synfarm.cli.farm import Farm
from synfarm.cli.identify import JobArgument, job_id
from synfarm.cli.options import Json, Watch, on_farm
from synfarm.cli.screen import errors, output, say, write_json
from synfarm.cli.submission import cures_of_the_command
from synfarm.cli.watching import watch_job

if TYPE_CHECKING:
    from synfarm.contracts.views import JobView

__all__ = ["cancel", "delete", "extend", "pause", "resume", "retry"]


def _tell(view: JobView, as_json: bool) -> None:
    write_json(view) if as_json else say(output(), f"job {view.job}: {view.state.value}")


@on_farm
def cancel(farm: Farm, job: JobArgument, as_json: Json = False) -> None:
    """End a job for good; what it has made stays."""
    with farm.client() as client, cures_of_the_command():
        view = client.jobs.cancel(job_id(client, job))
    _tell(view, as_json)


@on_farm
def pause(farm: Farm, job: JobArgument, as_json: Json = False) -> None:
    """Send no more of a job's units; those in work are handed back."""
    with farm.client() as client, cures_of_the_command():
        view = client.jobs.pause(job_id(client, job))
    _tell(view, as_json)


@on_farm
def resume(farm: Farm, job: JobArgument, as_json: Json = False) -> None:
    """Go on with a paused job."""
    with farm.client() as client, cures_of_the_command():
        view = client.jobs.resume(job_id(client, job))
    _tell(view, as_json)


@on_farm
def retry(farm: Farm, job: JobArgument, watch: Watch = False, as_json: Json = False) -> None:
    """Try the units again that an ended job gave up; what it has made stays."""
    with farm.client() as client, cures_of_the_command():
        view = client.jobs.retry(job_id(client, job))
    _go_on(farm, view, watch, as_json)


@on_farm
def extend(
    farm: Farm,
    job: JobArgument,
    captions: Annotated[int, typer.Option(min=1, help="Captions planned in all, those of before included.")],
    watch: Watch = False,
    as_json: Json = False,
) -> None:
    """Plan more captions for an ended job; every caption that it has made stays."""
    with farm.client() as client, cures_of_the_command():
        view = client.jobs.extend(job_id(client, job), captions)
    _go_on(farm, view, watch, as_json)


def _go_on(farm: Farm, view: JobView, watch: bool, as_json: bool) -> None:
    _tell(view, as_json)
    if watch:
        watch_job(farm, view.job, as_json=as_json)
    elif not as_json:
        say(errors(), f"Watch it: synfarm jobs watch {view.job}")


@on_farm
def delete(
    farm: Farm,
    job: JobArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Delete a job and all that it made, for good. Asks first."""
    with farm.client() as client, cures_of_the_command():
        found = client.jobs.get(job_id(client, job))
        if not yes:
            _ask(found)
        view = client.jobs.delete(found.job) or found.model_copy(update={"reason": "deleted"})
    if as_json:
        write_json(view)
    else:
        say(output(), f"job {view.job}: {view.reason or 'being deleted'}")


def _ask(view: JobView) -> None:
    """Go on only after a yes.

    Raises:
        CommandFailed: it was no, or there is nobody to ask.
    """
    what = f"job {view.job} ({view.name}, {view.state.value.replace('_', ' ')})"
    made = f"{counted(view.captions_written, 'caption')} and {counted(view.counts.images, 'image')}"
    # Not typer's own question: that one writes to stdout, which is the answer's alone.
    errors().print(f"Delete {what} with {made} for good? [y/N]", end=" ", highlight=False, soft_wrap=True)
    answer = sys.stdin.readline()
    if not answer:
        raise CommandFailed("nobody answered, so nothing was deleted; --yes goes without asking.", _NO)
    if answer.strip().casefold() not in {"y", "yes"}:
        raise CommandFailed("nothing was deleted.", _NO)


_NO = ExitCode.REFUSED
