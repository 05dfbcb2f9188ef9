"""`synfarm backup` and `synfarm restore`: jobs and runs in another place, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from synfarm.cli.counting import counted
from synfarm.cli.identify import checked_id
from synfarm.cli.meter import in_bytes, meter
from synfarm.cli.object_store import StoreFolder, from_environment, opened_store
from synfarm.cli.options import Json
from synfarm.cli.screen import errors, output, say, write_json

if TYPE_CHECKING:
    from synfarm.housekeeping.backup.copying import Copied

__all__ = ["backup", "restore"]

_PLACE = "DIR|s3://BUCKET/PREFIX"
Threads = Annotated[int, typer.Option(min=1, max=256, help="Each holds one object in memory.")]


def backup(
    name: Annotated[str, typer.Argument(metavar="JOB|RUN", help="The id of a job or run, or 'latest' job.")],
    to: Annotated[str, typer.Option(metavar=_PLACE, help="Where it goes; one place may hold many.")],
    prove: Annotated[
        bool, typer.Option("--prove", help="Read what is there already, and mend what has changed.")
    ] = False,
    threads: Threads = 4,
    data_dir: StoreFolder = None,
    as_json: Json = False,
) -> None:
    """Copy a job, or a run with all its jobs, also while the farm works on them; every shard is proven on the way.

    Stopped and begun again it goes on; begun later it copies what is new. Another S3 server is named by
    SYNFARM_EXPORT_ENDPOINT, _ACCESS_KEY, _SECRET_KEY, _SECURE and _REGION; else it is the farm's.
    """
    from synfarm.contracts.backups import Backups
    from synfarm.housekeeping.backup.backing_up import back_up
    from synfarm.housekeeping.backup.shelf import open_shelf
    from synfarm.settings import ExportSettings

    with opened_store(data_dir) as opened, meter("Looking …") as show:
        shelf = open_shelf(to, opened.settings, from_environment(ExportSettings))
        named = opened.job(name) if name == "latest" else checked_id(name, "job")
        heads = back_up(
            opened.store, named, shelf, prove=prove, threads=threads, progress=lambda copied: show(_line(copied))
        )
    if as_json:
        write_json(Backups(items=tuple(heads)))
        return
    for head in heads:
        what = f"{head.kind} {head.id}: {counted(head.objects, 'object')}, {in_bytes(head.bytes)}, in {shelf.where}"
        say(output(), what)
        if head.active:
            say(errors(), f"job {head.id} goes on: the same command brings in what it makes from now on.")


def restore(
    place: Annotated[str, typer.Argument(metavar=_PLACE, help="What `synfarm backup` wrote to.")],
    names: Annotated[list[str] | None, typer.Argument(metavar="[JOB|RUN]…", help="These alone; else all.")] = None,
    threads: Threads = 4,
    data_dir: StoreFolder = None,
    as_json: Json = False,
) -> None:
    """Bring jobs and runs back into the object store, each object proven by its hash.

    A job that had not ended is taken up by the farm when it is whole. What is in the store is left as it is. Stopped
    and begun again it goes on.
    """
    from synfarm.contracts.backups import RestoredList
    from synfarm.housekeeping.backup.restoring import restore as bring_back
    from synfarm.housekeeping.backup.shelf import open_shelf
    from synfarm.settings import ExportSettings

    wanted = tuple(checked_id(name, "job") for name in names or ())
    with opened_store(data_dir) as opened, meter("Reading the index …") as show:
        given = from_environment(ExportSettings)
        shelf = open_shelf(place, opened.settings, given, field="restore", make=False)
        done = bring_back(shelf, opened.store, wanted, threads=threads, progress=lambda copied: show(_line(copied)))
    if as_json:
        write_json(RestoredList(items=tuple(done)))
        return
    for one in done:
        there = "is in the store already, and was left as it is"
        told = there if one.was_there else f"is restored: {counted(one.objects, 'object')} written"
        say(output(), f"{one.kind} {one.id} {told}")


def _line(copied: Copied) -> str:
    return f"{copied.what} · {counted(copied.objects, 'object')} · {in_bytes(copied.bytes)}"
