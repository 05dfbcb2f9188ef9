"""Running a Celery worker inside our own process: no command line, one exit code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from celery import Celery, signals
from celery.worker import state

from synfarm.queue.draining import Draining
from synfarm.telemetry import get_logger

__all__ = ["give_up", "run_worker"]

_log = get_logger(__name__)
_BROKER_LOST = 75
"""EX_TEMPFAIL: try again, which is what a supervisor does."""


def give_up() -> None:
    """From any thread: end the worker of this process as one whose broker is lost.

    Celery does not always see it: with ``solo`` the message is acknowledged after the task; if the broker is away in
    that moment, the message counts as taken for ever, and no other one is asked for, also when the broker is back.
    """
    state.should_stop = _BROKER_LOST


def run_worker(
    app: Celery,
    *,
    queues: Sequence[str],
    pool: Literal["solo", "threads"],
    concurrency: int = 1,
    draining: Draining,
    name: str,
) -> int:
    """Consume ``queues``, first queue first, until SIGTERM or until the broker is lost; call it in the main thread.

    ``solo`` runs the task in the main thread, ``threads`` up to ``concurrency`` tasks at a time. SIGTERM sets
    ``draining`` at once and ends the worker when its running tasks have returned; a lost broker likewise.

    Returns:
        The process' exit code: 0 after SIGTERM or SIGINT, non-zero after the broker was lost.
    """

    def shutting_down(**_: Any) -> None:
        draining.start()

    def keep_logging(**_: Any) -> None:
        """A receiver is all that keeps Celery from configuring the logging itself."""

    signals.worker_shutting_down.connect(shutting_down, weak=False)
    signals.setup_logging.connect(keep_logging, weak=False)
    try:
        worker = app.Worker(
            hostname=name,
            pool_cls=pool,
            concurrency=concurrency,
            queues=list(queues),
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
            quiet=True,
        )
        worker.start()
    finally:
        signals.worker_shutting_down.disconnect(shutting_down)
        signals.setup_logging.disconnect(keep_logging)
    if draining.requested:
        return int(worker.exitcode or 0)
    _log.error("broker_lost", worker=name, next_step="the supervisor starts this worker again")
    return int(worker.exitcode or _BROKER_LOST)
