"""What a job would cost and when it would end: a plan made whole with rates that were measured, or guessed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from anyio import from_thread
from pydantic import ValidationError
from redis.exceptions import RedisError

from synfarm.contracts import layout
from synfarm.contracts.commits import Commit
from synfarm.contracts.jobs import JobSpec, Lane
from synfarm.contracts.renders import skill
from synfarm.contracts.views import JobPlan, Range
from synfarm.contracts.workers import WorkerInfo
from synfarm.planning.unit_size import guessed_seconds_per_image
from synfarm.queue.presence import live_workers
from synfarm.queue.rates import RateBook, UnitTiming, timing_of
from synfarm.queue.serving import CAPTION, is_able, missing_workers, serves
from synfarm.queue.specs import read_spec
from synfarm.storage.protocol import ObjectMissing, ObjectStore
from synfarm.telemetry import get_logger
from synfarm_caption_api.api.services import ApiServices
from synfarm_caption_api.text_generator import GeneratorAway

__all__ = ["complete"]

_log = get_logger(__name__)
_GUESS = 3.0
"""A guess may be wrong by this factor, either way."""
_JOBS_AHEAD = 500
_RECENT_JOBS, _COMMITS_OF_EACH, _ENOUGH = 30, 8, 32
"""Where rates are looked for when Redis has none."""
_PROBE_SECONDS = 3.0
_LANES = list(Lane)


def complete(plan: JobPlan, services: ApiServices, price_per_gpu_hour: float | None) -> JobPlan:
    """The plan with hours, money, time and place in the queue; bounded work, nothing is written to the store.

    Call it in a worker thread of the event loop: it asks the LLM whether it is there.
    """
    spec, render = plan.spec, plan.spec.render
    timings = _timings(services, plan.capability)
    if timings:
        costs = sorted(timing.seconds_per_image(render) for timing in timings)
        low, high = costs[len(costs) // 10], costs[(len(costs) * 9) // 10 if len(costs) > 1 else 0]
        images = sum(timing.images for timing in timings)
        size = round(plan.images * sum(timing.bytes for timing in timings) / images)
        told = {
            "rates": "measured",
            "rates_from": f"the last {len(timings)} units of {plan.capability} ({images} images)",
            "estimated_bytes": size,
        }
    else:
        guess = guessed_seconds_per_image(render)
        low, high, told = guess / _GUESS, guess * _GUESS, {}
    hours = Range(low=plan.images * low / 3600, high=plan.images * high / 3600)
    farm = _farm(services, plan.capability, plan.spec.schema_version)
    position, ahead = _ahead(services, spec)
    price = price_per_gpu_hour
    return plan.model_copy(
        update={
            **told,
            "captions": spec.captions,
            "gpu_hours": hours,
            "price_per_gpu_hour": price,
            "cost": None if price is None else Range(low=hours.low * price, high=hours.high * price),
            "eta_seconds": _eta(plan.images, ahead, low, high, farm),
            "queue_position": position,
            "images_ahead": ahead,
            "feasible": not farm.missing,
            "why_not": farm.missing,
        }
    )


@dataclass(frozen=True, slots=True)
class _Farm:
    """Who would work on the job now."""

    slots: int
    throughput: float | None
    missing: tuple[str, ...]


def _eta(images: int, ahead: int, low: float, high: float, farm: _Farm) -> Range | None:
    if not farm.slots:
        return None
    fast, slow = farm.slots / low, farm.slots / high
    if farm.throughput:
        # What came out at the end is bounded by captions and uploads too, which a unit's own seconds do not show.
        fast, slow = min(fast, farm.throughput * 1.25), min(slow, farm.throughput * 0.75)
    return Range(low=images / fast, high=(images + ahead) / slow)


def _farm(services: ApiServices, capability: str, version: int) -> _Farm:
    missing: list[str] = []
    workers: list[WorkerInfo] = []
    throughput = None
    try:
        workers = live_workers(services.redis, services.keys)
        wanted = (skill(what, version) for what in (CAPTION, capability))
        missing += missing_workers(services.redis, services.keys, workers, *wanted)
        throughput = RateBook(services.redis, services.keys).throughput(capability)
    except RedisError as error:
        _log.warning("plan_without_redis", error=str(error))
        missing = ["Redis does not answer, so nobody knows of any worker"]
    try:
        from_thread.run(_probe, services)
    except (GeneratorAway, TimeoutError) as error:
        missing.append(f"the LLM is away: {error or 'no answer'}")
    drawn = skill(capability, version)
    slots = sum(worker.slots for worker in workers if drawn in serves(worker) and is_able(worker))
    return _Farm(slots, throughput, tuple(missing))


async def _probe(services: ApiServices) -> None:
    await asyncio.wait_for(services.generator.probe(), _PROBE_SECONDS)


def _ahead(services: ApiServices, spec: JobSpec) -> tuple[int, int]:
    """(place of a new job in the queue, images that the jobs before it still want)."""
    capability, lane = spec.render.capability, _LANES.index(spec.lane)
    jobs = images = 0
    for info in services.store.list(layout.active_prefix(), limit=_JOBS_AHEAD):
        try:
            other = services.jobs.spec_of(layout.parse_active(info.key))
        except (ValueError, ObjectMissing):
            continue
        if other.render.capability != capability or _LANES.index(other.lane) > lane:
            continue
        counts = services.jobs.view(other).counts
        jobs += 1
        images += max(0, (other.captions - counts.empty) * other.images_per_caption - counts.images)
    return jobs + 1, images


def _timings(services: ApiServices, capability: str) -> list[UnitTiming]:
    """From Redis; after a flush from commits of recent jobs, which are then kept there again."""
    book = RateBook(services.redis, services.keys)
    try:
        found = book.timings(capability)
        if found:
            return found
    except (RedisError, ValidationError) as error:
        _log.warning("timings_unknown", error=str(error))
    found = list(islice(_recent(services.store, capability), _ENOUGH))
    try:
        book.note(capability, found)
    except RedisError as error:
        _log.warning("timings_not_kept", error=str(error))
    return found


def _recent(store: ObjectStore, capability: str) -> Iterator[UnitTiming]:
    for job in sorted(store.list_folders(layout.jobs_prefix()), reverse=True)[:_RECENT_JOBS]:
        try:
            spec = read_spec(store, job)
            if spec.render.capability != capability:
                continue
            for info in store.list(layout.commits_prefix(job), limit=_COMMITS_OF_EACH):
                timing = timing_of(Commit.from_bytes(store.get(info.key)), spec.render)
                if timing is not None:
                    yield timing
        except (ObjectMissing, ValidationError, ValueError) as error:
            _log.info("job_not_measured", job=job, error=str(error))
