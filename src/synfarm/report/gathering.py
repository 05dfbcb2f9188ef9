"""Reads all that a report tells through the two APIs: few requests at a time, a bounded number of them in all.

Only the job and the run themselves must answer. Whatever else is missing becomes a sentence in the report.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from synfarm.contracts.jobs import JobSpec
from synfarm.contracts.runs import RunSpec, StepMetrics
from synfarm.contracts.views import JobView, RunView, SampleGroup
from synfarm.report.options import ReportOptions
from synfarm.report.pictures import Picture, Unreadable, embed
from synfarm.report.quantities import times
from synfarm.sdk import ApiError, AsyncClient, SynfarmError

__all__ = ["Gathered", "Shown", "gather"]

T = TypeVar("T")
PAGE = 100
METRICS_PAGE = 5_000
PCA_PICTURE, PCA_RECORD = "patch-pca.png", "patch-pca.json"
_STORED_LIMIT = 24_000
"""Bytes up to which a small image is embedded as it is stored."""


class _PcaRow(BaseModel):
    concept: str


class _PcaRecord(BaseModel):
    """What ``patch-pca.json`` holds of the picture's rows."""

    rows: tuple[_PcaRow, ...]


@dataclass(frozen=True, slots=True)
class Shown:
    """One caption of the gallery with those of its images that are shown, in order of ``k``."""

    group: SampleGroup
    pictures: tuple[Picture, ...]


@dataclass
class Gathered:
    """Everything a report is made of."""

    job: JobView
    run: RunView | None = None
    job_spec: JobSpec | None = None
    run_spec: RunSpec | None = None
    llm_model: str | None = None
    gallery: list[Shown] = field(default_factory=list)
    metrics: tuple[StepMetrics, ...] = ()
    metrics_windows: int = 0
    """How many windows the metrics are of; 0: they are whole."""
    artifacts: dict[str, int] = field(default_factory=dict)
    """Bytes by name."""
    pca: Picture | None = None
    pca_rows: tuple[str, ...] = ()
    """Concepts of its rows, from the top."""
    notes: dict[str, str] = field(default_factory=dict)
    """By part: why it is missing or not whole."""


async def gather(client: AsyncClient, job: str, run: str | None, options: ReportOptions) -> Gathered:
    """Ask for everything.

    Raises:
        SynfarmError: the job or the run does not answer.
    """
    found = Gathered(await client.jobs.get(job))
    if run is not None:
        found.run = await client.runs.get(run)
    async with asyncio.TaskGroup() as group:
        group.create_task(_about_job(client, found))
        group.create_task(_noted(found, "gallery", _gallery(client, found, options)))
        if found.run is not None:
            group.create_task(_about_run(client, found, found.run, options))
    return found


async def _about_job(client: AsyncClient, found: Gathered) -> None:
    job = found.job.job
    found.job_spec = await _noted(found, "job configuration", client.jobs.spec(job))
    page = await _noted(found, "language model", client.jobs.captions(job, limit=1))
    if page is not None and page.items:
        found.llm_model = page.items[0].llm_model


async def _about_run(client: AsyncClient, found: Gathered, run: RunView, options: ReportOptions) -> None:
    found.run_spec = await _noted(found, "run configuration", client.runs.spec(run.run))
    await _noted(found, "metrics", _metrics(client, found, run, options))
    listed = await _noted(found, "artifacts", client.runs.artifacts(run.run))
    found.artifacts = {artifact.name: artifact.size for artifact in listed.items} if listed is not None else {}
    if PCA_PICTURE in found.artifacts:
        await _noted(found, "patch features", _patch_features(client, found, run.run))


async def _patch_features(client: AsyncClient, found: Gathered, run: str) -> None:
    data = await client.runs.artifact(run, PCA_PICTURE)
    try:
        found.pca = embed(data, side=2048, limit=1_500_000)
        if PCA_RECORD in found.artifacts:
            record = _PcaRecord.model_validate_json(await client.runs.artifact(run, PCA_RECORD))
            found.pca_rows = tuple(row.concept for row in record.rows)
    except Unreadable as error:
        found.notes["patch features"] = str(error)
    except ValidationError as error:
        found.notes["patch features"] = f"{PCA_RECORD} could not be read ({error.error_count()} errors)."


async def _metrics(client: AsyncClient, found: Gathered, run: RunView, options: ReportOptions) -> None:
    """All steps of a run of usual length; of a longer one windows spread over it, the last one at its end."""
    if run.step > METRICS_PAGE * options.metrics_requests:
        found.metrics_windows = options.metrics_requests
        width = METRICS_PAGE // options.metrics_requests
        gaps = max(1, options.metrics_requests - 1)
        for i in range(options.metrics_requests):
            page = await client.runs.metrics(run.run, since=i * (run.step - width) // gaps, limit=width)
            found.metrics += tuple(page.items)
        return
    since = 0
    for _ in range(options.metrics_requests):
        page = await client.runs.metrics(run.run, since=since, limit=METRICS_PAGE)
        found.metrics += tuple(page.items)
        if page.next_since <= since or page.next_since >= run.step:
            return
        since = page.next_since


async def _gallery(client: AsyncClient, found: Gathered, options: ReportOptions) -> None:
    chosen = await _choose(client, found, options)
    spent = 0
    for start in range(0, len(chosen), options.concurrency):
        part = chosen[start : start + options.concurrency]
        for shown in await asyncio.gather(*(_show(client, found, group, options) for group in part)):
            spent += sum(len(picture.uri) for picture in shown.pictures)
            if spent > options.gallery_bytes:
                found.notes["gallery size"] = "More captions would have made this file too large."
                return
            found.gallery.append(shown)


async def _show(client: AsyncClient, found: Gathered, group: SampleGroup, options: ReportOptions) -> Shown:
    """The caption with its images, one after the other.

    Raises:
        ApiUnreachable: the farm has gone; an image that it refuses, or that is none, is only noted.
    """
    pictures: list[Picture] = []
    for k in range(min(len(group.images), options.images_per_caption)):
        try:
            data = await client.jobs.image(found.job.job, group.caption_id, k)
            pictures.append(await asyncio.to_thread(embed, data, side=options.image_side, limit=_STORED_LIMIT))
        except (ApiError, Unreadable) as error:
            found.notes["images"] = f"Some images are missing, for example of {group.caption_id}: {error}"
    return Shown(group, tuple(pictures))


async def _choose(client: AsyncClient, found: Gathered, options: ReportOptions) -> list[SampleGroup]:
    """As the farm gives them, nothing picked: the first captions of all concepts, then the second ones."""
    by_concept: defaultdict[str, list[SampleGroup]] = defaultdict(list)
    cursor: int | None = None
    damaged: list[str] = []
    for _ in range(options.sample_pages):
        page = await client.jobs.samples(
            found.job.job, per_concept=options.captions_per_concept, cursor=cursor, limit=PAGE
        )
        for group in page.items:
            known = group.concept in by_concept or len(by_concept) < options.concepts
            if known and len(by_concept[group.concept]) < options.captions_per_concept:
                by_concept[group.concept].append(group)
        damaged += page.damaged
        cursor = page.next_cursor
        full = [len(groups) == options.captions_per_concept for groups in by_concept.values()]
        if cursor is None or (len(full) == options.concepts and all(full)):
            break
    if damaged:
        found.notes["damaged"] = (
            f"What is stored of {times(len(damaged), 'caption')} is not what was committed, for example of "
            f"{damaged[0]}; it is not shown."
        )
    rounds = range(options.captions_per_concept)
    return [groups[i] for i in rounds for _, groups in sorted(by_concept.items()) if i < len(groups)]


async def _noted(found: Gathered, part: str, answer: Awaitable[T]) -> T | None:
    """The answer, or None with a note of why there is none."""
    try:
        return await answer
    except SynfarmError as error:
        found.notes[part] = f"The farm did not answer: {error}"
    except ValidationError as error:
        found.notes[part] = f"The farm is of another version: its answer is no {error.title} of this one."
    return None
