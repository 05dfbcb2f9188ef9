"""Requests in line for a place at any server, first come, first served."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from synfarm_caption_api.llm.server import Place, Server

__all__ = ["Line", "Waiter"]


@dataclass(eq=False, slots=True)
class Waiter:
    """One request in line."""

    future: asyncio.Future[Place]
    avoid: Server | None
    """Where it failed just now: only if no other has room."""


class Line:
    """A queue that also takes requests back at its front: what was pushed back has waited longest."""

    def __init__(self) -> None:
        self._waiters: deque[Waiter] = deque()

    def __len__(self) -> int:
        return len(self._waiters)

    def first(self) -> Waiter | None:
        """The next one that still waits."""
        while self._waiters and self._waiters[0].future.done():
            self._waiters.popleft()
        return self._waiters[0] if self._waiters else None

    async def wait(self, avoid: Server | None, *, front: bool) -> Place:
        """Wait to be given a place; one that comes too late, after a cancel, is given back."""
        waiter = Waiter(asyncio.get_running_loop().create_future(), avoid)
        if front:
            self._waiters.appendleft(waiter)
        else:
            self._waiters.append(waiter)
        try:
            return await waiter.future
        except asyncio.CancelledError:
            if waiter.future.done() and not waiter.future.cancelled() and waiter.future.exception() is None:
                place = waiter.future.result()
                place.server.release(place)
            raise

    def give(self, place: Place) -> None:
        """To the first one."""
        self._waiters.popleft().future.set_result(place)

    def dismiss(self, make_error: type[Exception], reason: str) -> None:
        """All of them fail, each with an error of its own (a shared one would grow a traceback with every raise)."""
        waiters, self._waiters = self._waiters, deque()
        for waiter in waiters:
            if not waiter.future.done():
                waiter.future.set_exception(make_error(reason))
