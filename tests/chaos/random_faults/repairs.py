"""How long the farm took to notice what it had lost.

Not counted is the time in which Redis or the store was away, and in which a lost message would have waited in its queue
all the same. The clock begins anew when the unit is lost again, or the repairer itself: its replica, or Redis' memory.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from redis import Redis
from redis.exceptions import RedisError

from synfarm.contracts import layout
from synfarm.queue.flight import Flight
from synfarm.storage.protocol import ObjectStore, StoreError

__all__ = ["Loss", "Repair", "Repairs", "seconds_outside"]

_LOOK_SECONDS = 0.3


@dataclass(frozen=True, slots=True)
class Loss:
    """A unit whose message or worker is gone: the message's sequence, and the worker's attempt if there was one."""

    job: str
    unit: int
    sequence: int
    attempt: str | None = None
    queue: str | None = None
    """Where a message is missing that others still wait before."""


@dataclass(frozen=True, slots=True)
class Repair:
    """What became of a loss; ``seconds`` that count."""

    loss: Loss
    cause: str
    seconds: float


def seconds_outside(began: float, ended: float, away: Iterable[tuple[float, float]]) -> float:
    """Length of ``began … ended`` without what lies inside the intervals, which may overlap."""
    left, at = 0.0, began
    for start, end in sorted(away):
        if start > ended:
            break
        left += max(0.0, start - at)
        at = max(at, end)
    return left + max(0.0, ended - at)


@dataclass
class Repairs:
    """Losses that are open, and those that were repaired: sent again, taken up by another worker, or committed."""

    redis: Redis
    flight: Flight
    store: ObjectStore
    done: list[Repair] = field(default_factory=list)
    away: list[tuple[float, float]] = field(default_factory=list)
    """When something was away; seconds of ``time.time()``."""
    _open: dict[tuple[str, int], tuple[Loss, str, float]] = field(default_factory=dict)
    _away_since: float | None = None

    def expect(self, cause: str, at: float, losses: Iterable[Loss]) -> int:
        found = list(losses)
        for loss in found:
            self._open[loss.job, loss.unit] = (loss, cause, at)
        return len(found)

    def begin_anew(self) -> None:
        """The repairer is lost too: another begins from nothing."""
        now = time.time()
        self._open = {unit: (loss, cause, max(at, now)) for unit, (loss, cause, at) in self._open.items()}

    def was_away(self, what: str, began: float, ended: float) -> None:
        """``what`` is for whoever reads a trace."""
        self.away.append((began, ended))

    @property
    def open(self) -> list[str]:
        """In words."""
        return [f"{loss.job}/{loss.unit} by {cause}" for loss, cause, _ in self._open.values()]

    async def watch(self) -> None:
        """Look until cancelled."""
        while True:
            began = time.time()
            losses = [loss for loss, _, _ in self._open.values()]
            seen = await asyncio.to_thread(self._look, losses)
            now = time.time()
            self._note_presence(seen is not None, began, now)
            for loss in losses:
                found, cause, at = self._open[loss.job, loss.unit]
                state = (seen or {}).get(loss)
                if found != loss or state is None:
                    continue  # lost again meanwhile, or nothing to tell
                if state == "waits":
                    self._open[loss.job, loss.unit] = (loss, cause, now)
                elif state == "repaired":
                    del self._open[loss.job, loss.unit]
                    self.done.append(Repair(loss, cause, seconds_outside(at, now, self._all_away(now))))
            await asyncio.sleep(_LOOK_SECONDS)

    def _note_presence(self, there: bool, began: float, now: float) -> None:
        if not there and self._away_since is None:
            self._away_since = began
        elif there and self._away_since is not None:
            self.was_away("seen", self._away_since, now)
            self._away_since = None

    def _all_away(self, now: float) -> list[tuple[float, float]]:
        return [*self.away, *([] if self._away_since is None else [(self._away_since, now)])]

    def _look(self, losses: list[Loss]) -> dict[Loss, str] | None:
        """How each of them stands: repaired, waits, lost; None if Redis or the store does not answer."""
        try:
            self.redis.ping()
            self.store.head("probe/chaos")
            claimed = self.flight.claimed()
            return {
                loss: "repaired" if self._is_repaired(loss) else "waits" if self._waits(loss, claimed) else "lost"
                for loss in losses
            }
        except (RedisError, StoreError):
            return None

    def _waits(self, loss: Loss, claimed: Mapping[str, int]) -> bool:
        """Whether the message would not have been taken yet either: nobody could notice."""
        if loss.queue is None:
            return False
        return claimed.get(loss.queue, -1) < loss.sequence and self.flight.queue_length(loss.queue) > 0

    def _is_repaired(self, loss: Loss) -> bool:
        sent = self.flight.sent(loss.job).get(loss.unit)
        if sent is not None and sent.sequence != loss.sequence:
            return True
        holder = self.flight.leases(loss.job, [loss.unit]).get(loss.unit)
        if holder is not None and holder.attempt != loss.attempt:
            return True
        return self.store.head(layout.commit(loss.job, loss.unit)) is not None
