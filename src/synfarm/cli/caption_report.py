"""`synfarm jobs report`: what a job's captions are like."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synfarm.cli.farm import Farm
from synfarm.cli.identify import JobArgument, job_id
from synfarm.cli.options import Json, on_farm
from synfarm.cli.screen import output, write_json
from synfarm.cli.submission import cures_of_the_command
from synfarm.cli.tables import facts, percent, table

if TYPE_CHECKING:
    from rich.table import Table

    from synfarm.contracts.caption_reports import CaptionReport, ConceptCount, WordCounts

__all__ = ["report"]

_BARS = " ▁▂▃▄▅▆▇█"


@on_farm
def report(farm: Farm, job: JobArgument, as_json: Json = False) -> None:
    """What a job's captions are like: kept and refused, how varied, which concepts are hard, what repeats."""
    with farm.client(patient=True) as client, cures_of_the_command():
        found = client.jobs.report(job_id(client, job))
    if as_json:
        write_json(found)
        return
    screen = output()
    screen.print(_totals(found))
    if found.sample.kept:
        screen.print()
        screen.print(_sampled(found))
    if found.concepts.hardest:
        screen.print()
        screen.print(_hardest(found.concepts.hardest))


def _totals(found: CaptionReport) -> Table:
    refused = ", ".join(f"{reason} {count}" for reason, count in found.rejections.items()) or "none"
    kept = f"{found.written} of {found.planned} planned, {found.empty} slots left empty"
    texts = f"{found.draws} asked of the language model, {percent(found.written, found.draws)} kept; refused: {refused}"
    return facts({"job": f"{found.job} ({found.state.value.replace('_', ' ')})", "captions": kept, "texts": texts})


def _sampled(found: CaptionReport) -> Table:
    sample, near, spread = found.sample, found.near_duplicates, found.concepts
    rows = {"sample": f"{sample.kept} captions of {sample.units} units, spread over {sample.of_units}"}
    if found.words is not None:
        words = found.words
        rows["words"] = f"{_bars(words)}  mean {words.mean}, median {words.median}, 95 % have at most {words.p95}"
    if found.distinct is not None:
        d = found.distinct
        rows["distinct"] = f"1-grams {d.distinct_1}, 2-grams {d.distinct_2}, 3-grams {d.distinct_3}"
        rows["distinct"] += f" (over {d.captions} captions)"
    most = ", ".join(f"{count.concept} {count.kept}" for count in spread.most[:5])
    rows["concepts"] = f"{spread.kept} of {spread.planned} met, evenness {spread.evenness}; most: {most}"
    for template, count in found.templates.items():
        named = "" if count.second_named is None else f", second field taken up by {100 * count.second_named:.0f} %"
        rows[f"template {template}"] = f"{count.kept} captions, {percent(count.kept, count.draws)} of texts kept{named}"
    rows["near twins"] = f"{near.repeats} of {near.captions} captions repeat one of another unit"
    if near.twins_at_most is not None:
        rows["near twins"] += f"; in the whole job {near.twins_per_caption} a caption (at most {near.twins_at_most})"
    if sample.damaged:
        rows["damaged"] = f"{sample.damaged} units cannot be read"
    return facts(rows)


def _hardest(counts: tuple[ConceptCount, ...]) -> Table:
    rows = table("hardest concepts", "planned", "kept", "texts", "kept of texts", right=("planned", "kept", "texts"))
    for count in counts:
        rows.add_row(
            count.concept, str(count.planned), str(count.kept), str(count.draws), percent(count.kept, count.draws)
        )
    return rows


def _bars(words: WordCounts) -> str:
    """The histogram as one line of bars, from the shortest caption to the longest, at most forty."""
    low, high = min(words.histogram), max(words.histogram)
    width = -(-(high - low + 1) // 40)
    sums = [
        sum(words.histogram.get(length, 0) for length in range(start, start + width))
        for start in range(low, high + 1, width)
    ]
    return f"{low} " + "".join(_BARS[-(-8 * value // max(sums))] for value in sums) + f" {high}"
