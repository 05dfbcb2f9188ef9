"""The order in which a worker asks its queues: lanes first, and within a lane the capability whose model is loaded."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from kombu.utils.scheduling import priority_cycle

__all__ = ["QueueOrder"]


class QueueOrder:
    """Which of the queues ``<kind>.<capability>.<lane>`` comes first. One a process, thread-safe.

    Loading a model costs more than many units, so a worker stays with the model that it has. Not for ever: when it has
    preferred a capability for ``patience`` seconds, that one comes last in its lane until the next message is taken. A
    queue with work therefore waits for one unit longer than the patience at most, and models change once in that time.
    """

    def __init__(self, *, patience: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._patience, self._clock = patience, clock
        self._capability: str | None = None
        self._since = clock()
        self._lock = threading.Lock()

    def loaded(self, capability: str) -> None:
        """The worker holds the model of this capability from here on."""
        with self._lock:
            if capability != self._capability:
                self._capability, self._since = capability, self._clock()

    def arranged(self, queues: Iterable[str]) -> list[str]:
        """``queues``, which come lane by lane, with the preferred capability first in each lane."""
        with self._lock:
            capability, last = self._capability, self._waited()
        by_lane: dict[str, list[str]] = {}
        for queue in queues:
            by_lane.setdefault(queue.rpartition(".")[2], []).append(queue)
        return [
            queue
            for lane in by_lane.values()
            # Stable: what is not preferred keeps its order.
            for queue in sorted(lane, key=lambda name: (_capability(name) == capability) == last)
        ]

    def taken(self, queue: str) -> None:
        """A message came from ``queue``. If the others had their turn and gave none, the preference begins anew."""
        with self._lock:
            if self._waited() or _capability(queue) != self._capability:
                self._since = self._clock()

    def cycle(self) -> priority_cycle:
        """What kombu makes of the transport option ``queue_order_strategy``, once a channel."""
        return _OrderedCycle(self)

    def _waited(self) -> bool:
        return self._clock() - self._since >= self._patience


class _OrderedCycle(priority_cycle):
    """kombu asks it before each BRPOP, which takes from the first queue that holds a message."""

    def __init__(self, order: QueueOrder) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._order = order

    def consume(self, n: int) -> list[str]:
        return self._order.arranged(self.items[:n])

    def rotate(self, last_used: str) -> str:
        self._order.taken(last_used)
        return last_used


def _capability(queue: str) -> str:
    """Without the contract of the jobs, for which the model is the same."""
    return queue.partition(".")[2].rpartition(".")[0].partition(".v")[0]
