"""Routes of what a job has made: captions, shards, failures, events."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Annotated, TypeVar

from fastapi import APIRouter, Header, Query, Response
from pydantic import JsonValue

from synfarm.contracts import layout
from synfarm.contracts.captions import CaptionRecord, read_jsonl
from synfarm.contracts.commits import Commit, Failure
from synfarm.contracts.generations import unit_of
from synfarm.contracts.jobs import JobSpec
from synfarm.contracts.manifests import ManifestLine
from synfarm.contracts.pages import CaptionPage, FailurePage, ShardPage
from synfarm.storage.protocol import ObjectStore
from synfarm.web import CurrentPrincipal, event_stream
from synfarm_caption_api.api.parameters import IndexCursor, JobPath, check_cursor
from synfarm_caption_api.api.services import Services

__all__ = ["router"]

router = APIRouter(prefix="/v1/jobs/{job}", tags=["contents"])

Limit = Annotated[int, Query(ge=1, le=1000)]
T = TypeVar("T")


@router.get("/captions", summary="Read the captions written so far")
def captions(
    job: JobPath, who: CurrentPrincipal, services: Services, cursor: IndexCursor = 0, limit: Limit = 100
) -> CaptionPage:
    """Captions written so far, kept and empty, in order of index."""
    spec = services.jobs.spec(job, who)
    check_cursor(cursor, spec.captions, "captions")

    def records() -> Iterator[CaptionRecord]:
        first = unit_of(spec, cursor)
        for unit in _units(services.store, spec, layout.captions_prefix(spec.job), layout.captions, first):
            for record in read_jsonl(services.store.get(layout.captions(spec.job, unit))):
                if record.index >= cursor:
                    yield record

    items, more = _page(records(), limit)
    return CaptionPage(items=items, next_cursor=items[-1].index + 1 if more else None)


@router.get("/failures", summary="See which units were given up, and why")
def failures(
    job: JobPath, who: CurrentPrincipal, services: Services, cursor: IndexCursor = 0, limit: Limit = 100
) -> FailurePage:
    """Dead letters, in order of unit; a unit that was committed after all is none."""
    spec = services.jobs.spec(job, who)
    check_cursor(cursor, spec.units, "units")

    def dead() -> Iterator[Failure]:
        for unit in _units(services.store, spec, layout.failures_prefix(spec.job), layout.failure, cursor):
            if services.store.head(layout.commit(spec.job, unit)) is None:
                yield Failure.from_bytes(services.store.get(layout.failure(spec.job, unit)))

    items, more = _page(dead(), limit)
    return FailurePage(items=items, next_cursor=items[-1].unit + 1 if more else None)


@router.get("/shards", summary="Find the tars that hold the images")
def shards(
    job: JobPath, who: CurrentPrincipal, services: Services, cursor: IndexCursor = 0, limit: Limit = 100
) -> ShardPage:
    """Committed shards so far, in order of unit."""
    spec = services.jobs.spec(job, who)
    check_cursor(cursor, spec.units, "units")

    def committed() -> Iterator[ManifestLine]:
        for unit in _units(services.store, spec, layout.commits_prefix(spec.job), layout.commit, cursor):
            commit = Commit.from_bytes(services.store.get(layout.commit(spec.job, unit)))
            yield ManifestLine(
                unit=unit,
                status="committed",
                shard=commit.shard,
                groups=len(commit.groups),
                images=commit.images,
                empty=len(commit.empty),
            )

    items, more = _page(committed(), limit)
    return ShardPage(items=items, next_cursor=items[-1].unit + 1 if more else None)


@router.get(
    "/events",
    summary="Follow the job",
    response_class=Response,
    responses={200: {"content": {"text/event-stream": {}}, "description": "Events until the job ends."}},
)
async def events(
    job: JobPath, who: CurrentPrincipal, services: Services, last_event_id: Annotated[str | None, Header()] = None
) -> Response:
    """Server-Sent Events until the job ends; ``Last-Event-ID`` resumes, and ``reset`` carries the full state."""
    spec = await asyncio.to_thread(services.jobs.spec, job, who)

    async def full_state() -> dict[str, JsonValue]:
        view = await asyncio.to_thread(services.jobs.view, spec)
        return view.model_dump(mode="json")

    return event_stream(services.hub.stream(spec.job, last_event_id, full_state), heartbeat=services.heartbeat_seconds)


def _units(store: ObjectStore, spec: JobSpec, prefix: str, key: Callable[[str, int], str], first: int) -> Iterator[int]:
    """Numbers of the units that have an object below ``prefix``, from ``first`` on."""
    if first >= spec.units:
        return
    start_after = key(spec.job, first - 1) if first else None
    for info in store.list(prefix, start_after=start_after):
        yield layout.parse_unit(info.key)[2]


def _page(items: Iterator[T], limit: int) -> tuple[tuple[T, ...], bool]:
    """Up to ``limit`` items, and whether there is at least one more."""
    found = tuple(islice(items, limit))
    return found, len(found) == limit and next(items, None) is not None
