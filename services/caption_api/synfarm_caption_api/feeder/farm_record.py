"""What the leading feeder knows of the whole farm, for ``/metrics``: one picture a pass, and sums that only rise."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from synfarm.contracts.jobs import JobState
from synfarm.queue.board import JobCounters

__all__ = ["FarmPicture", "FarmRecord", "Totals"]


@dataclass(frozen=True, slots=True)
class FarmPicture:
    """The farm at the end of one pass; no ids of jobs, so that its size is bounded."""

    jobs: Mapping[JobState, int] = field(default_factory=dict)
    """Jobs that have not ended."""
    stalled: Mapping[str, int] = field(default_factory=dict)
    """Jobs that may run and do not get on, by what is in the way; a job may count under two reasons."""
    units: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Units of jobs that have not ended, by (capability, state)."""
    oldest: Mapping[str, float] = field(default_factory=dict)
    """Seconds since the last message for the unit that is in flight for longest, by stage."""
    missing_images: int = 0
    """Of jobs that may run."""
    queues: Mapping[str, int] = field(default_factory=dict)
    workers: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """By (kind, state)."""


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over all jobs since this replica leads."""

    plain: Mapping[str, int]
    refused: Mapping[str, int]
    """Texts that the quality gate refused, by reason."""
    ended: Mapping[JobState, int]


class FarmRecord:
    """Written by the feeder's thread, read by scrapes. A replica that does not lead has no picture.

    Of each job the highest value of a counter is remembered: counters that fall (they are rebuilt after Redis lost its
    memory) add nothing twice.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._picture: FarmPicture | None = None
        self._highest: dict[str, Counter[str]] = {}
        self._sums: Counter[str] = Counter()
        self._ended: Counter[JobState] = Counter()

    @property
    def picture(self) -> FarmPicture | None:
        with self._lock:
            return self._picture

    @property
    def totals(self) -> Totals:
        with self._lock:
            sums = dict(self._sums)
            ended = dict(self._ended)
        refused = {name.removeprefix(_REFUSED): sums.pop(name) for name in list(sums) if name.startswith(_REFUSED)}
        return Totals(sums, refused, ended)

    def note(self, job: str, counters: JobCounters) -> None:
        """Add what has come since the last call; of a job that is new here only what comes from now on."""
        now = _values(counters)
        with self._lock:
            before = self._highest.setdefault(job, now)
            self._sums += now - before  # of counters: what is not above zero is left out
            self._highest[job] = before | now  # the greater of both

    def ended(self, job: str, state: JobState | None) -> None:
        """A job is gone; ``state`` is None for one that was deleted, or that another replica leads now."""
        with self._lock:
            self._highest.pop(job, None)
            if state is not None:
                self._ended[state] += 1

    def tell(self, picture: FarmPicture) -> None:
        with self._lock:
            self._picture = picture

    def hide(self) -> None:
        """What was seen last may be true no more: Redis or the store is away."""
        with self._lock:
            self._picture = None

    def withdraw(self) -> None:
        """Another replica leads, and counts what comes from now on."""
        with self._lock:
            self._picture = None
            self._highest.clear()


_REFUSED = "refused:"


def _values(counters: JobCounters) -> Counter[str]:
    counts = counters.counts
    return Counter(
        {
            "units_committed": counts.units_committed,
            "units_dead": counts.units_dead,
            "captions": counters.written,
            "draws": counters.draws,
            "images": counts.images,
            "empty": counts.empty,
            "bytes": counts.bytes,
            "repairs": counters.repairs,
            "resends": counters.resends,
            "lost_workers": counters.lost_workers,
            **{f"{_REFUSED}{reason}": count for reason, count in counters.rejections.items()},
        }
    )
