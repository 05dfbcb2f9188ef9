"""The generations of a job: how it was made, what retries and extensions opened, and how each ended."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from synfarm.contracts import layout
from synfarm.contracts.jobs import JobSpec
from synfarm.contracts.manifests import Ended
from synfarm.queue.specs import read_openings
from synfarm.storage.protocol import ObjectMissing, ObjectStore

__all__ = ["Generation", "generations"]

_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Generation:
    """One of them; those after the first were opened by somebody."""

    number: int
    why: str
    """``made``, ``retry`` or ``extend``."""
    by: str
    at: datetime
    planned: int
    """Captions in all."""
    ended: Ended | None
    """None while it is at work."""


def generations(store: ObjectStore, spec: JobSpec) -> tuple[Generation, ...]:
    """The last ten, newest first; none for a job that has had no other than its first.

    Raises:
        StoreError: the store is away.
    """
    openings = read_openings(store, spec.job)
    if not openings:
        return ()
    found = [
        Generation(item.generation, item.why, item.by, item.at, item.captions, _ended(store, spec.job, item.generation))
        for item in openings[-_SHOWN:]
    ]
    if len(openings) < _SHOWN:
        first = _ended(store, spec.job, 1)
        planned = first.planned if first is not None else spec.captions
        found.insert(0, Generation(1, "made", spec.owner, spec.created_at, planned, first))
    return tuple(reversed(found))


def _ended(store: ObjectStore, job: str, generation: int) -> Ended | None:
    try:
        return Ended.from_bytes(store.get(layout.ended(job, generation)))
    except ObjectMissing:
        return None
