"""`synfarm gc`: removes from the object store what nobody needs any more."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from synfarm.cli.counting import counted
from synfarm.cli.identify import checked_id
from synfarm.cli.meter import in_bytes, meter
from synfarm.cli.object_store import StoreFolder, opened_store
from synfarm.cli.options import Json
from synfarm.cli.screen import errors, output, say, write_json

if TYPE_CHECKING:
    from synfarm.contracts.housekeeping import Collected
    from synfarm.housekeeping.collecting import Swept

__all__ = ["gc"]


def gc(
    job: Annotated[str | None, typer.Argument(metavar="[JOB]", help="One job alone; else all of them.")] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Delete it; without this it is only shown.")] = False,
    older_than: Annotated[
        float, typer.Option(min=1.0, max=36_500.0, metavar="DAYS", help="By the store's clock; a day is the least.")
    ] = 1.0,
    after: Annotated[
        str | None, typer.Option(metavar="JOB", help="Jobs after this one alone, to go on where one was stopped.")
    ] = None,
    data_dir: StoreFolder = None,
    as_json: Json = False,
) -> None:
    """Remove what nobody needs: tars that no commit names, pins of runs that never were, rests of deleted jobs.

    Without --delete it deletes nothing and shows what it would: what is deleted from a store is gone for good, and the
    list is quickly read. Jobs that run keep everything that may still be committed. It may be stopped and begun again
    at any moment. Without JOB files of checkpoints go too that a run began and never committed.
    """
    from synfarm.housekeeping.collecting import collect

    begun = ["", ""]
    with opened_store(data_dir) as opened, meter("Looking …") as show:
        named = None if job is None else opened.job(job)
        since = None if after is None else checked_id(after, "job")

        def tell(swept: Swept) -> None:
            if swept.job != begun[1]:
                begun[:] = begun[1], swept.job
            verb = "freed" if delete else "to free"
            show(f"job {swept.job} · {counted(swept.objects, 'object')} · {in_bytes(swept.bytes)} {verb}")

        try:
            found = collect(
                opened.store,
                job=named,
                after=since,
                older_than=timedelta(days=older_than),
                delete=delete,
                progress=tell,
            )
        except KeyboardInterrupt:
            if begun[0]:
                say(errors(), f"Stopped in job {begun[1]}; `--after {begun[0]}` goes on with it.")
            raise
    write_json(found) if as_json else _print(found)


def _print(found: Collected) -> None:
    screen = output()
    for removal in found.removals:
        say(screen, f"{removal.key} ({in_bytes(removal.size)}): {removal.why}")
    if (more := found.objects - len(found.removals)) > 0:
        say(screen, f"… and {counted(more, 'more object')}")
    for note in found.notes:
        say(errors(), f"left alone: {note}", "yellow")
    what = f"{counted(found.objects, 'object')} of {counted(found.jobs, 'job')}, {in_bytes(found.bytes)}"
    if found.deleted:
        say(screen, f"Freed: {what}.", "green")
    elif found.objects:
        say(screen, f"Would be freed: {what}. Nothing was deleted: --delete does it.")
    else:
        say(screen, f"Nothing to free in {counted(found.jobs, 'job')}.")
