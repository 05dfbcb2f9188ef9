"""How many requests may be in flight to one server: additive increase, multiplicative decrease, driven by its 429s."""

from __future__ import annotations

__all__ = ["AdaptiveLimit"]


class AdaptiveLimit:
    """A number between 1 and ``maximum``; times are given by the caller, in seconds.

    Below the first push-back it doubles with each round of answers, after it grows by one a round: a server that takes
    500 requests is filled in five rounds and not in 500. It grows only while it is what holds requests back. A server
    that is full says so to many requests at once, so one burst is one signal: at most one halving in ``settle``
    seconds.
    """

    def __init__(self, maximum: int, *, start: int = 16, settle: float = 1.0) -> None:
        if maximum < 1:
            raise ValueError(f"maximum must be at least 1, got {maximum}")
        self._maximum, self._start, self._settle = maximum, start, settle
        self._cap = maximum
        self._limit = float(min(start, maximum))
        self._probing = True
        self._last_cut = float("-inf")

    @property
    def limit(self) -> int:
        return int(self._limit)

    def restart(self, cap: int | None = None) -> None:
        """Begin anew with a server that has (re)started; ``cap``: how many it takes at most, if it told."""
        self._cap = self._maximum if cap is None else max(1, min(self._maximum, cap))
        self._limit = float(min(self._start, self._cap))
        self._probing = True

    def answered(self, in_flight: int) -> None:
        """A request was answered, with so many in flight (itself included)."""
        if in_flight * 2 < self._limit:
            return
        self._limit = min(float(self._cap), self._limit + (1.0 if self._probing else 1.0 / self._limit))

    def pushed_back(self, now: float) -> bool:
        """The server said that it is busy; whether that was a new signal, and the limit was halved."""
        if now - self._last_cut < self._settle:
            return False
        self._last_cut = now
        self._probing = False
        self._limit = max(1.0, self._limit / 2)
        return True
