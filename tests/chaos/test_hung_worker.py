"""A renderer that hangs: the worker ends itself, is started again, and the unit is drawn by another try."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from synfarm.contracts import layout
from synfarm.contracts.commits import Commit, Failure
from synfarm.contracts.jobs import JobState

pytestmark = [pytest.mark.chaos, pytest.mark.integration, pytest.mark.timeout(240)]


async def test_a_unit_that_hangs_once_is_drawn_and_one_that_hangs_every_worker_is_given_up(
    farm: Any, quick: dict[str, str], tmp_path: Path
) -> None:
    once = [f"render.after_claim:unit=1:hang:{tmp_path / 'once'}"]
    always = [f"render.after_claim:unit=3:hang:{tmp_path / str(number)}" for number in range(3)]
    bounds = {"SYNFARM_RENDER_STALL_SECONDS": "4", "SYNFARM_FEEDER_MAX_LOST_WORKERS": "3"}
    async with farm(extra={**quick, **bounds}, faults={"render-worker": ";".join(once + always)}) as f:
        job = (await f.submit(captions=24, error_budget=0.5)).job
        view = await f.client.jobs.wait(job, poll=0.2)
        assert (view.state, view.counts.units_committed, view.counts.units_dead) == (
            JobState.COMPLETED_WITH_ERRORS,
            5,
            1,
        )
        failure = Failure.from_bytes(f.store.get(layout.failure(job, 3)))
        assert (failure.fault, failure.count) == ("lost_worker", 3)
        drawn = Commit.from_bytes(f.store.get(layout.commit(job, 1)))
        pids = [(tmp_path / name).read_text().split()[0] for name in ("once", "0", "1", "2")]
        assert len(set(pids)) == 4, "each hang was the end of a process"
        log = (f.folder / "logs" / "render-worker.log").read_text()
        hung = [line for line in log.splitlines() if "work_hung" in line]
        assert len(hung) == 4
        assert drawn.attempt not in "".join(hung), "another try has drawn it"
        assert f.supervisor.restarted["render-worker"] >= 4
        assert f.counters(job).lost_workers == 4
