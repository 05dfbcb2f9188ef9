"""The one asyncio loop of a worker process, on a thread of its own, to which every Celery task hands its unit."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

__all__ = ["LoopThread"]

T = TypeVar("T")


class LoopThread:
    """Runs coroutines for other threads."""

    def __init__(self, name: str = "captions") -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T], *, check: Callable[[], None] | None = None, every: float = 1.0) -> T:
        """The coroutine's result, waited for by the calling thread, which calls ``check`` meanwhile.

        What ``check`` raises cancels the coroutine and is raised here. It runs in the caller's thread because it may
        block (it asks Redis), and nothing that blocks may stand on the loop.
        """
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            while True:
                try:
                    return future.result(timeout=every if check else None)
                except TimeoutError:
                    if future.done():
                        raise
                    if check is not None:
                        check()
        finally:
            future.cancel()

    def close(self) -> None:
        """End the loop; what still runs is cancelled."""
        asyncio.run_coroutine_threadsafe(_cancel_all(), self._loop).result(timeout=10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._loop.close()


async def _cancel_all() -> None:
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
