"""Whose fault is a request that fails at every try: the servers', or its own?"""

from __future__ import annotations

from dataclasses import dataclass

from synfarm_caption_api.llm.wire import CallFailed

__all__ = ["Suspicion", "Tally"]

ANSWERED_AT_LEAST = 3
UNWELL_AT_MOST = 0.1


@dataclass(slots=True)
class Tally:
    """How the requests of one generator fared so far, over all servers."""

    answered: int = 0
    """Requests answered at their first try."""
    unwell: int = 0
    """Signs that servers are ill: a request that failed and was answered later, a try that was not answered at all.

    A request to which servers only ever said no is none: it may be like the one that is under suspicion.
    """


class Suspicion:
    """Of one request: do servers that answer the others always say no to this one?

    Some prompts crash a server's forward pass each time (a token that it cannot sample, a grammar that it cannot
    build). Such a request must not count as an outage, or its job would stall for ever; and an outage must never
    count as a unit's fault. What tells them apart: where servers are ill, requests fail by chance and are answered
    later. So the verdict takes an error of the server's own at every try, others that were answered meanwhile, and
    hardly one among them that had to be sent again.
    """

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._before: tuple[int, int] | None = None
        self._said_no = True

    @property
    def raised(self) -> bool:
        """Whether servers have said no to this request, and nothing else."""
        return self._before is not None and self._said_no

    def failed(self, error: CallFailed) -> None:
        """This request failed once more."""
        self._said_no &= error.said_no
        if not error.said_no:
            self._tally.unwell += 1
        if self._before is None:
            self._before = (self._tally.answered, self._tally.unwell)

    def answered(self) -> None:
        """This request was answered."""
        if self._before is None:
            self._tally.answered += 1
        else:
            self._tally.unwell += 1

    @property
    def confirmed(self) -> bool:
        """Whether it is the request's own fault."""
        if self._before is None or not self._said_no:
            return False
        unwell = self._tally.unwell - self._before[1]
        return self.others_answered >= ANSWERED_AT_LEAST and unwell <= UNWELL_AT_MOST * self.others_answered

    @property
    def others_answered(self) -> int:
        return self._tally.answered - self._before[0] if self._before is not None else 0
