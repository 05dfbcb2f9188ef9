"""`synfarm status`: how the farm of this machine does."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from synfarm.cli.exits import CommandFailed
from synfarm.cli.farm import Farm, living_stack
from synfarm.cli.options import DataDir, Json
from synfarm.cli.screen import errors, output, say, write_json
from synfarm.cli.tables import facts, jobs_table, runs_table, span, state_text, table

if TYPE_CHECKING:
    from rich.table import Table

    from synfarm.cli.stack_status import StackStatus
    from synfarm.local.finding import Found

__all__ = ["status"]


def status(data_dir: DataDir = None, as_json: Json = False) -> None:
    """Processes with ports, restarts and uptime, and the jobs and runs that are under way.

    Exit code 3 when no farm runs.
    """
    found = living_stack(data_dir)
    told = _told_by(found)
    if as_json:
        write_json(told)
        return
    out = output()
    out.print(facts(_head(told)))
    out.print()
    out.print(_processes(told))
    if told.problem:
        say(errors(), told.problem, "yellow")
    for title, rows in (("Jobs under way", jobs_table(told.jobs, out)), ("Runs under way", runs_table(told.runs, out))):
        if rows.row_count:
            say(out, f"\n{title}", "bold")
            out.print(rows)
    if told.state is not None and not told.jobs and not told.runs and not told.problem:
        say(out, "\nNo job and no run is under way.")


def _told_by(found: Found) -> StackStatus:
    from synfarm.cli.stack_status import StackStatus
    from synfarm.sdk import SynfarmError

    processes = found.processes.processes if found.processes else ()
    told = StackStatus(
        folder=found.folder.root, condition=found.condition.value, pid=found.pid, state=found.state, processes=processes
    )
    if found.state is None:
        return told
    told = told.model_copy(update={"uptime_seconds": max(0.0, time.time() - found.state.started_at.timestamp())})
    farm = Farm(data_dir=found.folder.root)
    try:
        with farm.client("both") as client:
            jobs = [job for job in client.jobs.list(limit=50).items if not job.state.is_final]
            runs = [run for run in client.runs.list(limit=50).items if not run.state.is_final]
    except (CommandFailed, SynfarmError) as failure:
        # A service that restarts is what one asks the status for: the rest of the answer is worth having.
        return told.model_copy(update={"problem": str(failure)})
    return told.model_copy(update={"jobs": tuple(jobs), "runs": tuple(runs)})


def _head(told: StackStatus) -> dict[str, str]:
    head = {"farm": f"{told.folder} (process {told.pid})"}
    if told.state is None:
        return head | {"state": "starting or stopping"}
    return head | {
        "up for": span(told.uptime_seconds),
        "web page": f"{told.state.api_url}/",
        "trainer": told.state.trainer_url,
        "key": f"in {told.state.key_file}",
    }


def _processes(told: StackStatus) -> Table:
    rows = table("process", "state", "pid", "address", "restarts", "age", right=("pid", "restarts", "age"))
    for entry in told.processes:
        age = span(max(0.0, time.time() - entry.since.timestamp()))
        pid = str(entry.pid) if entry.pid is not None and _is_alive(entry.pid) else "-"
        rows.add_row(entry.name, state_text(entry.state), pid, entry.address or "-", str(entry.restarts), age)
    return rows


def _is_alive(pid: int) -> bool:
    return os.path.exists(f"/proc/{pid}")
