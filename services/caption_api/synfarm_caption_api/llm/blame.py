"""Whose fault is a request that fails at every try: the servers', or its own?"""

from __future__ import annotations

from dataclasses import dataclass

from synfarm_caption_api.llm.wire import CallFailed

__all__ = ["Suspicion", "Tally"]

ANSWERED_AT_LEAST = 3
FAILED_AT_MOST = 0.1


@dataclass(slots=True)
class Tally:
    """How the requests of one generator ended so far, over all servers."""

    answered: int = 0
    failed: int = 0


class Suspicion:
    """Of one request, from its first failure on: do servers that answer the others always say no to this one?

    Some prompts crash a server's forward pass each time (a token that it cannot sample, a grammar that it cannot
    build). Such a request must not count as an outage, or its job would stall for ever; and an outage must never
    count as a unit's fault. So it takes an error of the server's own at every try, and meanwhile others that were
    answered, nearly all of them.
    """

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._before: tuple[int, int] | None = None
        self._own = 0
        self._said_no = True

    def failed(self, error: CallFailed) -> None:
        """This request failed once more; the tally holds it already."""
        self._own += 1
        self._said_no &= error.said_no
        if self._before is None:
            self._before = (self._tally.answered, self._tally.failed - 1)

    @property
    def confirmed(self) -> bool:
        """Whether it is the request's own fault."""
        if self._before is None or not self._said_no:
            return False
        answered = self._tally.answered - self._before[0]
        failed = self._tally.failed - self._before[1] - self._own
        return answered >= ANSWERED_AT_LEAST and failed <= FAILED_AT_MOST * answered

    @property
    def others_answered(self) -> int:
        return self._tally.answered - self._before[0] if self._before is not None else 0
