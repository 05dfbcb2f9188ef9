"""Run a coroutine that Ctrl-C, SIGTERM or a closed terminal ends in good order."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

__all__ = ["run_interruptible"]

T = TypeVar("T")


def run_interruptible(work: Coroutine[Any, Any, T], on_stop: Callable[[], None] | None = None) -> T:
    """Run ``work``; each signal cancels it (the first ends it in order, the next cuts that short).

    Args:
        on_stop: called at the first signal, at once.

    Raises:
        asyncio.CancelledError: a signal came.
    """

    async def main() -> T:
        task = asyncio.ensure_future(work)
        loop = asyncio.get_running_loop()

        def stop() -> None:
            if on_stop is not None and not task.cancelling():
                on_stop()
            task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, stop)
        return await task

    return asyncio.run(main())
