"""`synfarm samples`: see what a job has made."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from synfarm.cli.counting import counted
from synfarm.cli.farm import Farm
from synfarm.cli.identify import JobArgument, job_id
from synfarm.cli.options import Json, on_farm
from synfarm.cli.screen import errors, output, say, write_json
from synfarm.cli.submission import cures_of_the_command
from synfarm.cli.tables import table
from synfarm.whole_file import write_whole

if TYPE_CHECKING:
    from synfarm.contracts.views import SampleGroup
    from synfarm.sdk import Client

__all__ = ["samples"]


def _groups(
    client: Client, job: str, concept: str | None, per_concept: int | None, wanted: int
) -> tuple[list[SampleGroup], list[str]]:
    """Up to ``wanted`` groups, and the ids of damaged ones that were left out; a page may be short, even empty."""
    found: list[SampleGroup] = []
    damaged: list[str] = []
    taken: Counter[str] = Counter()
    cursor: int | None = None
    while True:
        page = client.jobs.samples(
            job, concept=concept, per_concept=per_concept, cursor=cursor, limit=min(wanted - len(found), 100)
        )
        # The server counts the groups of a concept within a page.
        news = [group for group in page.items if _counted(taken, group) <= (per_concept or wanted)]
        found += news
        damaged += page.damaged
        cursor = page.next_cursor
        # A page is spread over the whole job: when it brings nothing new, what is left would be looked at in vain.
        if cursor is None or len(found) >= wanted or (page.items and not news):
            return found[:wanted], damaged


def _spread(client: Client, job: str, wanted: int) -> tuple[list[SampleGroup], list[str]]:
    """Up to ``wanted`` groups, over the concepts as evenly as that allows; filled up where concepts have too few."""
    concepts = max(1, client.jobs.spec(job).concept_count)
    share = -(-wanted // concepts)
    found, damaged = _groups(client, job, None, share, wanted if share == 1 else share * concepts)
    if len(found) < wanted:
        more, damaged_too = _groups(client, job, None, None, wanted)
        known = {group.caption_id for group in found}
        found += [group for group in more if group.caption_id not in known]
        damaged = sorted({*damaged, *damaged_too})
    taken: Counter[str] = Counter()
    # The first of every concept, then the second ones …; among equals in the order of the job.
    rounds = [(_counted(taken, group), place) for place, group in enumerate(found)]
    return [found[place] for _, place in sorted(sorted(rounds)[:wanted], key=lambda pick: pick[1])], damaged


def _counted(taken: Counter[str], group: SampleGroup) -> int:
    """How many of the group's concept there are, with this one."""
    taken[group.concept] += 1
    return taken[group.concept]


def _save(client: Client, job: str, groups: list[SampleGroup], folder: Path) -> int:
    """As in a shard: the images of a group beside its JSON, under the caption's id. The number of images."""
    folder.mkdir(parents=True, exist_ok=True)
    images = 0
    for group in groups:
        ending = group.meta.image_format
        for k in range(len(group.images)):
            write_whole(folder / f"{group.caption_id}.{k}.{ending}", client.jobs.image(job, group.caption_id, k))
            images += 1
        write_whole(folder / f"{group.caption_id}.json", group.meta.to_bytes() + b"\n")
    lines = [f"{group.caption_id}\t{_cell(group.concept)}\t{_cell(group.caption)}\n" for group in groups]
    write_whole(folder / "captions.tsv", "".join(lines).encode())
    return images


def _cell(words: str) -> str:
    """Of the table for people: a spreadsheet takes what begins so for a formula. The JSON beside it is exact."""
    line = " ".join(words.split())
    return f"'{line}" if line.startswith(("=", "+", "-", "@")) else line


@on_farm
def samples(
    farm: Farm,
    job: JobArgument,
    folder: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Save them there: images, captions, provenance."),
    ] = None,
    concept: Annotated[str | None, typer.Option("--concept", "-c", help="Of this concept alone.")] = None,
    per_concept: Annotated[int | None, typer.Option(min=1, help="At most so many of each concept.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="So many captions.")] = 12,
    as_json: Json = False,
) -> None:
    """Some captions of a job with their images, spread over its concepts; `-o DIR` saves them."""
    with farm.client(patient=True) as client, cures_of_the_command():
        found = job_id(client, job)
        if concept is None and per_concept is None:
            groups, damaged = _spread(client, found, limit)
        else:
            groups, damaged = _groups(client, found, concept, per_concept, limit)
        if folder is not None and groups:
            images = _save(client, found, groups, folder)
            say(errors(), f"{counted(len(groups), 'caption')} with {counted(images, 'image')} saved in {folder}")
    for caption in damaged:
        say(errors(), f"{caption}: left out, what is stored is not what was committed", "yellow")
    if as_json:
        from synfarm.contracts.views import SamplePage

        write_json(SamplePage(items=tuple(groups), damaged=tuple(damaged)))
        return
    if not groups:
        of = f" of {concept!r}" if concept else ""
        say(errors(), f"Job {found} has no finished captions{of} yet: synfarm jobs show {found}")
        return
    rows = table("caption", "concept", "text", "images", right=("images",))
    for group in groups:
        rows.add_row(group.caption_id, group.concept, group.caption, str(len(group.images)))
    output().print(rows)
