"""`synfarm export`: a job as a plain WebDataset, in a folder or a bucket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from synfarm.cli.counting import counted
from synfarm.cli.identify import JobArgument
from synfarm.cli.meter import in_bytes, meter
from synfarm.cli.object_store import StoreFolder, from_environment, opened_store
from synfarm.cli.options import Json
from synfarm.cli.screen import errors, output, say, write_json

if TYPE_CHECKING:
    from synfarm.housekeeping.exporting.export import Moved

__all__ = ["export"]


def export(
    job: JobArgument,
    to: Annotated[
        str, typer.Option(metavar="DIR|s3://BUCKET/PREFIX", help="Where it goes: empty, or an export of it.")
    ],
    shard_size: Annotated[
        float | None,
        typer.Option(
            min=0.01, max=1e6, metavar="MB", help="Merge shards into tars of about this many MB; else one a unit."
        ),
    ] = None,
    partial: Annotated[bool, typer.Option("--partial", help="Also of a job that has not ended.")] = False,
    threads: Annotated[int, typer.Option(min=1, max=256, help="Each holds one shard in memory.")] = 4,
    data_dir: StoreFolder = None,
    as_json: Json = False,
) -> None:
    """Copy a job's images as tars that every WebDataset tool reads, each shard proven by its hash on the way.

    Stopped and begun again, it proves the tars that are there and makes the others; index.json comes last. Another S3
    server is named by SYNFARM_EXPORT_ENDPOINT, _ACCESS_KEY, _SECRET_KEY, _SECURE and _REGION; else it is the farm's.
    """
    from synfarm.housekeeping.exporting.export import export as move
    from synfarm.housekeeping.exporting.opening import open_destination
    from synfarm.settings import ExportSettings

    shard_bytes = None if shard_size is None else round(shard_size * 1_000_000)
    with opened_store(data_dir) as opened, meter("Reading the manifest …") as show:

        def tell(moved: Moved) -> None:
            of = "" if moved.of_images is None else f" of {moved.of_images}"
            show(f"{counted(moved.tars, 'tar')} · {moved.images}{of} images · {in_bytes(moved.bytes)}")

        named = opened.job(job)
        destination = open_destination(to, opened.settings, from_environment(ExportSettings))
        done = move(
            opened.store,
            named,
            destination,
            shard_bytes=shard_bytes,
            partial=partial,
            threads=threads,
            progress=tell,
        )
    index = done.index
    if as_json:
        write_json(index)
        return
    screen = output()
    there = f", {done.proven} of them there already and proven" if done.proven else ""
    say(
        screen,
        f"{counted(len(index.tars), 'tar')} in {destination.where} ({in_bytes(index.bytes)}): "
        f"{index.captions} captions, {index.images} images{there}",
    )
    if index.urls:
        say(screen, f"{destination.where.rstrip('/')}/{index.urls}")
    if index.partial:
        say(errors(), "The job goes on: the same command brings in what it makes from now on.")
