"""`synfarm import`: images of a folder or of tars as a finished job, to train on."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from synfarm.cli.counting import counted
from synfarm.cli.exits import CommandFailed, ExitCode
from synfarm.cli.meter import in_bytes, meter
from synfarm.cli.object_store import StoreFolder, opened_store
from synfarm.cli.options import Json
from synfarm.cli.screen import errors, output, say, write_json

if TYPE_CHECKING:
    from synfarm.importing.importing import Imported, Step
    from synfarm.importing.planning import ImportPlan

__all__ = ["import_images"]

_ONE_IMAGE = "--set data.views=1 --set data.crops=2 --set objective.name=simclr"
_TOLD = 8
"""Files that are named; the others are counted."""


class ClassesFrom(StrEnum):
    """As :class:`synfarm.importing.listing.ConceptsFrom`; here again, because loading that costs every command."""

    FOLDER = "folder"
    CLS = "cls"
    JSON = "json"
    NONE = "none"


class Form(StrEnum):
    JPG = "jpg"
    WEBP = "webp"


def import_images(
    paths: Annotated[
        list[Path], typer.Argument(metavar="FOLDER|TARS...", help="CLASS/IMAGE folders, or plain WebDataset tars.")
    ],
    name: Annotated[str, typer.Option("--name", help="Of the job; it stands for these files from then on.")],
    concepts_from: Annotated[
        ClassesFrom | None,
        typer.Option(
            show_default=False, help="What names an image's class; else its folder, or in tars .cls, then JSON."
        ),
    ] = None,
    size: Annotated[int, typer.Option(min=32, max=2048, metavar="PX", help="Longest side that is stored.")] = 512,
    image_format: Annotated[
        Form, typer.Option("--format", help="Files of it and of the size are kept byte for byte.")
    ] = Form.JPG,
    quality: Annotated[int, typer.Option(min=1, max=100, help="Of the images that are encoded anew.")] = 95,
    follow_links: Annotated[
        bool, typer.Option("--follow-links", help="Also those that lead out of FOLDER, to any file of this machine.")
    ] = False,
    images_per_shard: Annotated[
        int | None, typer.Option(min=1, max=1024, show_default=False, help="Else as many as make about 64 MB.")
    ] = None,
    owner: Annotated[str, typer.Option(help="Whose job it is, as the farm's keys name owners.")] = "local",
    threads: Annotated[int, typer.Option(min=1, max=256, help="Each holds one shard in memory.")] = 4,
    data_dir: StoreFolder = None,
    as_json: Json = False,
) -> None:
    """Make a finished job of images that you have: `synfarm runs start JOB --set data.views=1` trains on it
    by an objective that takes one image of a caption, such as supce, mae, and simclr with data.crops=2.

    One image is one caption group; its caption is what stands in a .txt or .json beside it, else the class. Files that
    cannot be read and those with the bytes of another are left out, and told. Stopped and begun again with the same
    arguments it goes on; the job is seen when it is whole.
    """
    try:
        from synfarm.importing.importing import ImportAsked
        from synfarm.importing.importing import import_images as make
        from synfarm.importing.listing import ConceptsFrom, ImportRefused
        from synfarm.importing.planning import plan_import
    except ModuleNotFoundError as error:
        raise CommandFailed("import needs Pillow: pip install 'synfarm[report]'.", ExitCode.REFUSED) from error
    from pydantic import ValidationError

    from synfarm.contracts.wording import in_words

    refused: list[tuple[str, str]] = []
    try:
        with opened_store(data_dir) as opened, meter("Listing the images …") as show:

            def step(at: Step) -> None:
                show(f"shard {at.units} of {at.of} · {at.images} images · {in_bytes(at.bytes)}")

            plan = plan_import(
                paths,
                concepts_from=None if concepts_from is None else ConceptsFrom(concepts_from.value),
                per_unit=images_per_shard,
                follow_links=follow_links,
            )
            try:
                asked = ImportAsked(
                    name=name,
                    owner=owner,
                    source=plan.source,
                    image_format=image_format.value,
                    size=size,
                    quality=quality,
                    per_unit=plan.per_unit,
                )
            except ValidationError as error:
                field = str(error.errors()[0]["loc"][0])
                raise CommandFailed(f"--{field}: {in_words(error)}.", ExitCode.REFUSED) from error
            done = make(
                opened.store,
                plan,
                asked,
                threads=threads,
                tell=lambda file, what: refused.append((file, what)),
                progress=step,
            )
    except ImportRefused as error:
        raise CommandFailed(str(error), ExitCode.REFUSED) from error
    except KeyboardInterrupt:
        say(errors(), "Stopped; the same command goes on where it was.")
        raise
    _warn(plan, sorted(refused))
    if as_json:
        write_json(done.ended)
        return
    _print(plan, done)


def _warn(plan: ImportPlan, refused: list[tuple[str, str]]) -> None:
    for note in plan.notes:
        say(errors(), note, "yellow")
    told = [*plan.left_out, *refused]
    for file, why in told[:_TOLD]:
        say(errors(), f"{file}: {why}", "yellow")
    if (more := len(told) - _TOLD) > 0:
        say(errors(), f"… and {counted(more, 'more file')}", "yellow")


def _print(plan: ImportPlan, done: Imported) -> None:
    counts = done.ended.counts
    there = f", {counted(done.found, 'shard')} of them there already" if done.found else ""
    say(
        output(),
        f"job {done.job}: {counted(counts.images, 'image')} of {counted(len(plan.concepts), 'concept')} in "
        f"{counted(counts.units_committed, 'shard')} ({in_bytes(counts.bytes)}){there}",
    )
    rest = {"could not be read": counts.empty, "left out before": len(plan.left_out)}
    for what, count in rest.items():
        if count:
            say(output(), f"{counted(count, 'file')} {what}")
    say(output(), f"synfarm runs start {done.job} {_ONE_IMAGE}")
