"""From what was gathered to what the page says: every number, sentence and chart, ready for the template."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version

from markupsafe import Markup
from pydantic import BaseModel

from synfarm.contracts.jobs import JobSpec
from synfarm.contracts.runs import RunState
from synfarm.knn import KnnHistory, KnnRecord, knn_history
from synfarm.report.acceptance import Acceptance, acceptance
from synfarm.report.charts import bar, dot_chart
from synfarm.report.commands import Recipe, read_shards, redraw, use_backbone
from synfarm.report.gathering import Gathered, Shown
from synfarm.report.knn import Verdict, dots, floor_verdicts, split_of, told, verdicts
from synfarm.report.licences import Credit, credits_for
from synfarm.report.options import Place, ReportOptions
from synfarm.report.quantities import count, duration, moment, percent, shortened, size, times
from synfarm.report.training import Curves, curves

__all__ = ["Document", "compose"]

_LISTED = 60
"""Items of a list that the configuration shows: a job may hold fifty thousand concepts."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A number at the head of the page."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Stage:
    """A row of the table of times."""

    name: str
    time: str
    share: str
    bar: Markup


@dataclass(frozen=True, slots=True)
class Document:
    """What the template shows."""

    gathered: Gathered
    place: Place
    side: int
    """Of the images: larger ones were shrunk to it."""
    made_at: str
    facts: list[Fact]
    lead: str
    concepts: list[tuple[str, list[Shown]]]
    """The gallery: captions by concept, in alphabetical order."""
    acceptance: Acceptance
    curves: Curves | None
    knn: str | None
    """How k-NN was measured; None without a record."""
    knn_chart: Markup | None
    verdicts: list[Verdict]
    stages: list[Stage]
    credits: list[Credit]
    versions: dict[str, str]
    recipes: list[Recipe]
    configurations: dict[str, str] = field(default_factory=dict)
    """Pretty JSON by title."""


def compose(
    found: Gathered, stages: Mapping[str, float] | None, place: Place, options: ReportOptions, now: datetime
) -> Document:
    """The whole page but its markup."""
    knn = knn_history(found.run.evals) if found.run is not None else None
    render = found.job_spec.render if found.job_spec is not None else None
    drawn = curves(found.metrics)
    by_concept: dict[str, list[Shown]] = {}
    for shown in found.gallery:
        by_concept.setdefault(shown.group.concept, []).append(shown)
    kept = acceptance(found.job, found.job_spec.caption if found.job_spec is not None else None)
    return Document(
        gathered=found,
        place=place,
        side=options.image_side,
        made_at=moment(now),
        facts=_facts(found, kept, knn),
        lead=_lead(found, knn),
        concepts=sorted(by_concept.items(), key=lambda item: item[0].casefold()),
        acceptance=kept,
        curves=drawn,
        knn=split_of(knn) if knn is not None else None,
        knn_chart=_knn_chart(knn),
        verdicts=verdicts(knn) if knn is not None else [],
        stages=_stages(stages, drawn),
        credits=credits_for(render, found.llm_model, found.job_spec.source if found.job_spec is not None else None),
        versions=_versions(found),
        recipes=_recipes(found, place),
        configurations=_configurations(found),
    )


def _facts(found: Gathered, kept: Acceptance, knn: KnnHistory | None) -> list[Fact]:
    job, run, counts = found.job, found.run, found.job.counts
    empty = f"{times(counts.empty, 'slot')} left empty" if counts.empty else f"of {count(job.planned_captions)} planned"
    facts = [Fact("captions", count(counts.captions), empty)]
    if found.job_spec is not None:
        if found.job_spec.concept_count:
            facts.append(Fact("concepts", count(found.job_spec.concept_count)))
        side = f"{found.job_spec.images_per_caption} a caption, {found.job_spec.render.size} px"
        facts.append(Fact("images", count(counts.images), side))
    else:
        facts.append(Fact("images", count(counts.images)))
    facts.append(Fact("data", size(counts.bytes), f"in {times(counts.units_committed, 'shard')}"))
    if kept.draws:
        facts.append(Fact("texts kept", percent(kept.rate, 0), f"of {count(kept.draws)} written"))
    if run is not None:
        note = "" if run.step == run.total_steps else f"of {count(run.total_steps)}"
        facts.append(Fact("training steps", count(run.step), note or f"preset {run.preset}"))
    if knn is not None and knn.after is not None:
        facts.append(Fact("k-NN, held out", told(knn.after), f"untrained {told(knn.before)}" if knn.before else ""))
    return facts


def _lead(found: Gathered, knn: KnnHistory | None) -> str:
    """The report in a few sentences."""
    counts, spec, run = found.job.counts, found.job_spec, found.run
    writer = f" by {found.llm_model}" if found.llm_model else ""
    if spec is not None and spec.source is not None:
        first = f"{times(counts.images, 'image')} with their captions: {spec.origin}."
    elif spec is not None:
        by = spec.render.model or spec.render.renderer
        written = f", written{writer}" if spec.captions_from is None else ""
        stand_in = ", which composes emoji artwork and is no diffusion model" if by == "collage" else ""
        first = (
            f"From {_origin(spec)} came {times(counts.captions, 'caption')}{written}, "
            f"and from these {times(counts.images, 'image')} of {spec.render.size} px, drawn by {by}{stand_in}."
        )
    else:
        first = f"{times(counts.captions, 'caption')} were written{writer}, and {times(counts.images, 'image')} drawn."
    sentences = [first]
    if not found.job.state.is_final:
        sentences.append(f"The job is still {found.job.state.value}: these numbers will grow.")
    if run is None:
        return " ".join([*sentences, "This report tells of no training run."])
    real = "" if spec is not None and spec.source is not None else "; no real image was used"
    sentences.append(f"A vision transformer was trained on them for {times(run.step, 'step')}{real}.")
    if run.state is not RunState.COMPLETED:
        sentences.append(f"The run is {run.state.value}{': ' + run.reason if run.reason else ''}.")
    if knn is not None and knn.after is not None:
        sentences.append(_knn_sentence(knn, knn.after))
    return " ".join(sentences)


def _origin(spec: JobSpec) -> str:
    """What the captions came from: concepts where they are listed, else what the spec says of itself."""
    return times(len(spec.concepts), "concept") if spec.concepts and spec.captions_from is None else spec.origin


def _knn_sentence(knn: KnnHistory, after: KnnRecord) -> str:
    before = f"; untrained it was {told(knn.before)}" if knn.before is not None else ""
    sentence = f"Its features name the concept of {told(after)} of the images of held-out captions by k-NN{before}"
    if not knn.floors:
        return sentence + "."
    found = list(zip(knn.floors.items(), floor_verdicts(knn, after), strict=True))
    named = {
        mood: [f"{name} ({percent(floor.top1)})" for (name, floor), verdict in found if verdict.mood == mood]
        for mood in ("bad", "open")
    }
    if below := named["bad"]:
        reach = "reaches" if len(below) == 1 else "reach"
        return f"{sentence}. That is less than {' or '.join(below)} {reach} without learning."
    if named["open"]:
        return f"{sentence}. That cannot be told apart from {' or '.join(named['open'])} without learning."
    return f"{sentence}. That is more than any floor without learning."


def _knn_chart(knn: KnnHistory | None) -> Markup | None:
    if knn is None:
        return None
    rows = dots(knn)
    return dot_chart(
        "chart-knn",
        rows,
        title="k-NN accuracy on held-out captions",
        description="; ".join(f"{dot.label} {dot.text} per cent" for dot in rows) + ".",
        x_label="top-1 accuracy, % of test images",
        mark=100 * knn.after.top1 if knn.after is not None else None,
    )


def _stages(stages: Mapping[str, float] | None, drawn: Curves | None) -> list[Stage]:
    """Times by stage as the caller took them; without any, what the run's own metrics say."""
    seconds = dict(stages or {})
    if not seconds and drawn is not None:
        seconds = {"training steps": drawn.seconds - drawn.waited, "waiting for data": drawn.waited}
    total = sum(seconds.values())
    return [
        Stage(name, duration(value), percent(value / total, 0) if total else "—", bar(value, total))
        for name, value in seconds.items()
    ]


def _versions(found: Gathered) -> dict[str, str]:
    """Of the software that drew the shown samples, and of the one that wrote this page."""
    versions: dict[str, str] = {}
    for shown in found.gallery:
        for name, value in shown.group.meta.versions.items():
            known = versions.setdefault(name, value)
            if value not in known.split(", "):
                versions[name] = f"{known}, {value}"
    try:
        versions["synfarm (this report)"] = version("synfarm")
    except PackageNotFoundError:
        versions["synfarm (this report)"] = "unknown: run from source"
    return versions


def _recipes(found: Gathered, place: Place) -> list[Recipe]:
    drawn = found.job_spec is None or found.job_spec.source is None
    recipes = [redraw(found.gallery[0].group)] if found.gallery and drawn else []
    recipes.append(
        read_shards(found.job.job, place, found.job_spec.render.image_format if found.job_spec is not None else "jpg")
    )
    if found.run is not None and {"backbone.json", "backbone.safetensors"} <= found.artifacts.keys():
        recipes.append(use_backbone(found.run))
    return recipes


def _configurations(found: Gathered) -> dict[str, str]:
    models: dict[str, BaseModel | None] = {"job": found.job_spec, "run": found.run_spec}
    return {
        f"{title} {found.job.job if title == 'job' else found.run.run if found.run else ''}": json.dumps(
            shortened(model.model_dump(mode="json"), _LISTED), indent=1, ensure_ascii=False
        )
        for title, model in models.items()
        if model is not None
    }
