"""Whether a server is asked at all: closed, open, half open; a pure state machine without a clock."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Breaker", "BreakerState"]


class BreakerState(StrEnum):
    """What a server is given."""

    CLOSED = "closed"
    """All that its limit allows."""
    HALF_OPEN = "half_open"
    """One request, on trial."""
    OPEN = "open"
    """Nothing."""


class Breaker:
    """Opens after ``threshold`` failures in a row; a probe half opens it, one good request closes it.

    It begins open: a server is asked what it is before it is given work. Every result carries the ``epoch`` in which
    its request was sent; one of an earlier epoch changes nothing, so that the late time-outs of an outage do not open
    the breaker of a server that is back.
    """

    def __init__(self, *, threshold: int = 5) -> None:
        self._threshold = threshold
        self._state = BreakerState.OPEN
        self._failures = 0
        self._tripped = False
        self.epoch = 0
        self.reason = "not asked yet"
        """Why it is open."""
        self.openings = 0
        """In a row, without a good request between them."""

    @property
    def state(self) -> BreakerState:
        return self._state

    def succeeded(self, epoch: int) -> None:
        """A request was answered."""
        if epoch == self.epoch:
            self._failures = self.openings = 0
            if self._state is BreakerState.HALF_OPEN:
                self._go(BreakerState.CLOSED)

    def failed(self, epoch: int, reason: str, *, hopeless: bool = False) -> None:
        """A request failed; ``hopeless``: every one would."""
        if epoch != self.epoch or self._state is BreakerState.OPEN:
            return
        self._failures += 1
        if hopeless or self._state is BreakerState.HALF_OPEN or self._failures >= self._threshold:
            self.trip(reason)

    def trip(self, reason: str) -> None:
        """Open it."""
        self.reason, self._tripped = reason, True
        self.openings += 1
        self._go(BreakerState.OPEN)

    def still_away(self, reason: str) -> None:
        """A probe was not answered as it should be."""
        self.reason = reason
        self.openings += 1

    def probed(self) -> None:
        """A probe was answered: a server that never failed is taken at its word, one that did gets a trial."""
        self._go(BreakerState.HALF_OPEN if self._tripped else BreakerState.CLOSED)

    def _go(self, state: BreakerState) -> None:
        self._state = state
        self._failures = 0
        self.epoch += 1
