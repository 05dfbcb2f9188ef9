"""Which run tells what was learnt from a job: the newest one that was trained on it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from synfarm.contracts.views import JobView, RunView
    from synfarm.sdk import Client

__all__ = ["newest_run_on"]

_PAGE = 200
_SKEW = timedelta(hours=1)
"""By which the clocks of the two services may differ."""


def newest_run_on(client: Client, job: JobView) -> RunView | None:
    """Of the runs on the job that the key may see the newest one that has made a step, else the newest; None without.

    Reads the list of runs, newest first, back to the time at which the job was made: an older run knows nothing of it.
    """
    waiting: RunView | None = None
    cursor: str | None = None
    while True:
        page = client.runs.list(cursor=cursor, limit=_PAGE)
        for run in page.items:
            if all(dataset.job != job.job for dataset in run.datasets):
                continue
            if run.step > 0:
                return run
            waiting = waiting or run
        cursor = page.next_cursor
        if cursor is None or not page.items or page.items[-1].created_at < job.created_at - _SKEW:
            return waiting
