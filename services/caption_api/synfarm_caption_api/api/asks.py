"""Requests that make the LLM write while their client waits: a few of each key at a time, none whose client has gone.

A job's captions wait in a queue and count against limits; such a request takes the LLM's places at once.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from fastapi import Request

from synfarm.auth import Principal
from synfarm.contracts.problems import ProblemError
from synfarm.telemetry import get_logger
from synfarm_caption_api.text_generator import GeneratorAway, PromptFails, PromptRefused

__all__ = ["Asks", "llm_away", "prompt_refused", "unless_gone"]

_log = get_logger(__name__)

T = TypeVar("T")
_AGAIN_SECONDS = 5.0


class Asks:
    """Counts the requests under way by key, in this replica alone; lives on one event loop."""

    def __init__(self, most: int) -> None:
        """``most``: of one key at a time."""
        self._most = most
        self._under_way: Counter[str] = Counter()

    @contextmanager
    def place(self, who: Principal) -> Iterator[None]:
        """Hold a place while the body asks the LLM.

        Raises:
            ProblemError: 429, the key has as many requests under way as it may.
        """
        key = who.key or who.owner
        if self._under_way[key] >= self._most:
            raise ProblemError(
                429,
                "too_many_asks",
                f"This key has {self._most} requests under way for which the LLM writes, as many as it may.",
                hint="Wait as long as Retry-After says, or for one of them to end; send fewer at once.",
                retry_after=_AGAIN_SECONDS,
            )
        self._under_way[key] += 1
        try:
            yield
        finally:
            self._under_way[key] -= 1
            if not self._under_way[key]:
                del self._under_way[key]


def llm_away(error: GeneratorAway) -> ProblemError:
    """The 503 for it. What the server said goes to the log alone: it may repeat the key that it did not take."""
    _log.warning("ask_failed", error=str(error))
    return ProblemError(
        503,
        "llm_away",
        "No language model server answers.",
        hint="Try again later; GET /readyz tells when the LLM is back.",
    )


def prompt_refused(error: PromptRefused, field: str, cure: str) -> ProblemError:
    """The 422 for it.

    Args:
        field: what the prompt was made of.
        cure: of a prompt that the LLM does not take; where its server fails, no shorter one helps.
    """
    failed = isinstance(error, PromptFails)
    hint = "Send another seed; the log of the LLM's server tells why it fails." if failed else cure
    return ProblemError(422, "prompt_refused", str(error), field=field, hint=hint)


async def unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of ``work``, which is cancelled when the client hangs up first.

    The body of the request must have been read.

    Raises:
        ProblemError: 499, for the metrics alone: nobody is there to read it.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_hung_up(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ProblemError(499, "client_gone", "The client hung up before the answer was there.")
    finally:
        for each in (task, gone):
            each.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
