"""`synfarm jobs captions`, `failures`, `shards`, `spec`: what a job has written, lost and was made with."""

from __future__ import annotations

from typing import Annotated

import typer

from synfarm.cli.farm import Farm
from synfarm.cli.identify import JobArgument, job_id
from synfarm.cli.options import Json, on_farm
from synfarm.cli.screen import errors, output, say, write_json
from synfarm.cli.submission import cures_of_the_command
from synfarm.cli.tables import table

__all__ = ["captions", "failures", "shards", "spec"]

Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="At most this many.")]
Cursor = Annotated[int | None, typer.Option(min=0, help="`next_cursor` of the page before.")]


def _more(command: str, job: str, cursor: int | None) -> None:
    if cursor is not None:
        say(errors(), f"There are more: synfarm jobs {command} {job} --cursor {cursor}")


@on_farm
def captions(farm: Farm, job: JobArgument, limit: Limit = 20, cursor: Cursor = None, as_json: Json = False) -> None:
    """Captions written so far with what they were asked by; empty slots with the reason. Whole ids: `--json`."""
    with farm.client() as client, cures_of_the_command():
        found = job_id(client, job)
        page = client.jobs.captions(found, cursor=cursor, limit=limit)
    if as_json:
        write_json(page)
        return
    if not page.items:
        say(errors(), f"Job {found} has no captions{' there' if cursor else ' yet'}: synfarm jobs show {found}")
        return
    rows = table("index", "concept", "template", "second", "text", "texts", right=("index", "texts"))
    for record in page.items:
        empty = f"(empty: {record.empty_reason.value})" if record.empty_reason is not None else ""
        second, asked = record.second or "", str(record.draws)
        rows.add_row(str(record.index), record.concept, record.template.value, second, record.text or empty, asked)
    output().print(rows)
    _more("captions", found, page.next_cursor)


@on_farm
def failures(farm: Farm, job: JobArgument, limit: Limit = 20, cursor: Cursor = None, as_json: Json = False) -> None:
    """Units that were given up, and why."""
    with farm.client() as client, cures_of_the_command():
        found = job_id(client, job)
        page = client.jobs.failures(found, cursor=cursor, limit=limit)
    if as_json:
        write_json(page)
        return
    if not page.items:
        say(errors(), f"No unit of job {found} was given up.")
        return
    rows = table("unit", "stage", "fault", "times", "reason", right=("unit", "times"))
    for letter in page.items:
        rows.add_row(str(letter.unit), letter.stage.value, letter.fault, str(letter.count), letter.reason)
    output().print(rows)
    _more("failures", found, page.next_cursor)
    say(errors(), f"Once it has ended, try them again: synfarm jobs retry {found}")


@on_farm
def shards(farm: Farm, job: JobArgument, limit: Limit = 20, cursor: Cursor = None, as_json: Json = False) -> None:
    """Committed units and the tars in the object store that hold their images."""
    with farm.client() as client, cures_of_the_command():
        found = job_id(client, job)
        page = client.jobs.shards(found, cursor=cursor, limit=limit)
    if as_json:
        write_json(page)
        return
    if not page.items:
        say(errors(), f"Job {found} has no images{' there' if cursor else ' yet'}: synfarm jobs show {found}")
        return
    rows = table("unit", "captions", "images", "empty", "bytes", "shard", right=("unit", "captions", "images", "bytes"))
    for line in page.items:
        size, key = (str(line.shard.size), line.shard.key) if line.shard is not None else ("0", "(every slot is empty)")
        rows.add_row(str(line.unit), str(line.groups), str(line.images), str(line.empty), size, key)
    output().print(rows)
    _more("shards", found, page.next_cursor)


@on_farm
def spec(farm: Farm, job: JobArgument, as_json: Json = False) -> None:
    """The frozen spec that a job was made with, as JSON with `--json` and without."""
    with farm.client() as client, cures_of_the_command():
        write_json(client.jobs.spec(job_id(client, job)))
