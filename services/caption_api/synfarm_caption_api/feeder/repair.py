"""When is a unit's message or worker lost? Pure decisions over what one pass has seen."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from enum import StrEnum

from synfarm.queue.flight import Holder, Sent

__all__ = ["QueueWatch", "Verdict", "judge"]


class Verdict(StrEnum):
    """What a unit in flight needs."""

    KEEP = "keep"
    LOST_WORKER = "lost_worker"
    """It was claimed, and its lease expired: count the worker, send again."""
    MESSAGE_GONE = "message_gone"
    """Nobody holds it, and its message cannot be in the queue any more: send again."""
    AGED = "aged"
    """It waits for too long: move it up a lane."""


class QueueWatch:
    """What successive passes saw of the queues: since when each is empty, and what had been claimed a while ago."""

    def __init__(self, claim_gap: float, settle: float) -> None:
        self._gap, self._settle = claim_gap, settle
        self._empty_since: dict[str, float] = {}
        self._history: deque[tuple[float, dict[str, int]]] = deque()
        self._horizon: dict[str, int] = {}

    def observe(self, now: float, lengths: Mapping[str, int], claimed: Mapping[str, int]) -> None:
        """Take in one pass' view: length by queue (of all queues with units in flight), highest claimed sequence."""
        self._empty_since = {q: self._empty_since.get(q, now) for q, length in lengths.items() if length == 0}
        self._history.append((now, dict(claimed)))
        while self._history and self._history[0][0] <= now - self._gap:
            self._horizon = self._history.popleft()[1]

    def reset(self) -> None:
        """Redis lost its memory: what was seen before means nothing."""
        self._empty_since.clear()
        self._history.clear()
        self._horizon = {}

    def is_gone(self, sent: Sent, now: float) -> bool:
        """Whether the message of an unclaimed unit must have left its queue without a claim."""
        if self._horizon.get(sent.queue, -1) > sent.sequence:
            return True
        since = self._empty_since.get(sent.queue)
        return since is not None and now - max(since, sent.at) >= self._settle


def judge(
    sent: Sent, claim: Holder | None, leased: bool, watch: QueueWatch, now: float, *, age_seconds: float
) -> Verdict:
    """What one unit in flight needs; ``claim`` is a claim that nobody has released."""
    if leased:
        return Verdict.KEEP
    if claim is not None and (claim.queue, claim.sequence) == (sent.queue, sent.sequence):
        return Verdict.LOST_WORKER
    if watch.is_gone(sent, now):
        return Verdict.MESSAGE_GONE
    return Verdict.AGED if now - sent.at > age_seconds else Verdict.KEEP


def queues_of(sent: Iterable[Sent]) -> set[str]:
    """Queues with units in flight."""
    return {entry.queue for entry in sent}
