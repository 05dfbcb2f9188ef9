"""Who may send how much: the window by living workers, shared fairly by owner, then by job. Pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass

from synfarm.queue.presence import WorkerInfo
from synfarm.queue.serving import serves

__all__ = ["Claimant", "share", "window_size"]


@dataclass(frozen=True, slots=True)
class Claimant:
    """A job that has units to send; jobs of one ``pool`` (skill and lane) share a window."""

    job: str
    owner: str
    pool: str
    in_flight: int


def window_size(workers: Iterable[WorkerInfo], what: str, *, per_slot: int, low: int, high: int) -> int:
    """Units that may be in flight for one skill: so many for each slot of a worker that serves its jobs."""
    slots = sum(w.slots for w in workers if not w.draining and (w.kind == "caption" or what in serves(w)))
    return min(high, max(low, per_slot * slots))


def share(claimants: Sequence[Claimant], window: int) -> Generator[Claimant, bool | None, None]:
    """The jobs of one pool in the order in which they may send one unit each, until the window is full.

    Always the owner with the fewest units in flight, and of that owner's jobs the one with the fewest. A job that has
    nothing more to send is taken out with ``generator.send(False)``; a unit that was not needed likewise costs nothing.
    """
    by_owner: Counter[str] = Counter()
    by_job = {claimant.job: claimant.in_flight for claimant in claimants}
    for claimant in claimants:
        by_owner[claimant.owner] += claimant.in_flight
    waiting = list(claimants)
    total = sum(by_job.values())
    while waiting and total < window:
        chosen = min(waiting, key=lambda c: (by_owner[c.owner], by_job[c.job], c.job))
        sent = yield chosen
        if sent is False:
            waiting.remove(chosen)
            continue
        by_owner[chosen.owner] += 1
        by_job[chosen.job] += 1
        total += 1
