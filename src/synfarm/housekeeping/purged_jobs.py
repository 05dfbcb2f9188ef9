"""What came to a deleted job after its purge: a worker that was out of reach for long uploads before it looks."""

from __future__ import annotations

from synfarm.contracts import layout
from synfarm.housekeeping.removing import Remover

__all__ = ["sweep_purged"]


def sweep_purged(job: str, remover: Remover) -> None:
    """Remove what lies beside the tombstone of a job whose purge is over; the tombstone stays, as always.

    A purge that goes on still is the feeder's: it ends with the removal of the spec and of the active mark.
    """
    store = remover.store
    if store.head(layout.job(job)) is not None or store.head(layout.active(job)) is not None:
        return
    for info in store.list(layout.job_prefix(job)):
        if info.key != layout.tombstone(job) and remover.is_old(info):
            remover.remove(info, "left over from a job that was deleted")
