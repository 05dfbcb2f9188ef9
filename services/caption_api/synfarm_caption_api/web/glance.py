"""The farm at a glance: jobs that are not finished by state, images a second, what stalls, who works."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

from synfarm.auth import Principal
from synfarm.contracts import layout
from synfarm.contracts.problems import ProblemError
from synfarm.contracts.views import JobView
from synfarm.contracts.workers import WorkerInfo
from synfarm_caption_api.api import operations
from synfarm_caption_api.api.services import ApiServices

__all__ = ["Glance", "acceptance", "look"]

_MOST_ACTIVE = 50
_THREADS = 8


@dataclass(frozen=True, slots=True)
class Glance:
    """What the top of the first page shows."""

    states: dict[str, int]
    """Of jobs that are not finished."""
    more: bool
    """There are more such jobs than were looked at."""
    stalled: tuple[JobView, ...]
    images_per_second: float
    workers: tuple[WorkerInfo, ...] | None
    """None while Redis is away."""

    def alive(self, kind: str) -> int:
        return sum(worker.kind == kind for worker in self.workers or ())

    def busy(self, kind: str) -> int:
        return sum(worker.kind == kind and worker.progress_age_seconds is not None for worker in self.workers or ())


def look(services: ApiServices, who: Principal) -> Glance:
    """The glance of one principal: users see their own jobs, admins all; costs nothing for jobs that have ended."""
    keys = services.store.list(layout.active_prefix(), limit=_MOST_ACTIVE + 1)
    jobs = [layout.parse_active(info.key) for info in keys]

    def view(job: str) -> JobView | None:
        try:
            return services.jobs.view(services.jobs.spec(job, who))
        except ProblemError:
            return None  # another owner's, or one that ended since the listing

    with ThreadPoolExecutor(_THREADS) as pool:
        views = [found for found in pool.map(view, islice(jobs, _MOST_ACTIVE)) if found is not None]
    try:
        workers: tuple[WorkerInfo, ...] | None = operations.workers(who, services).items
    except ProblemError:
        workers = None
    return Glance(
        states=dict(Counter(found.state.value for found in views)),
        more=len(jobs) > _MOST_ACTIVE,
        stalled=tuple(found for found in views if found.stalled),
        images_per_second=sum(found.images_per_second or 0.0 for found in views),
        workers=workers,
    )


def acceptance(view: JobView) -> float | None:
    """Share of the texts that the gate kept; None before the first."""
    return view.texts_kept / view.draws if view.draws else None
