"""What `runs show` says of the newest checkpoint."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import pytest
from rich.console import Console

from synfarm.cli.tables import run_facts
from synfarm.contracts.runs import CheckpointFacts, RunState
from synfarm.contracts.views import RunView

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [((0.0612, 3.21), "step 40 (1.4 GB; training stood still for 0.061 s, upload 3.2 s)"), ((None, None), "step 40")],
)
def test_it_tells_what_it_cost_where_that_is_known(seconds: tuple[float | None, float | None], words: str) -> None:
    stall, upload = seconds
    facts = CheckpointFacts(
        step=40, attempt=1, bytes=1_430_000_000, stall_seconds=stall, upload_seconds=upload, committed_at=NOW
    )
    run = RunView(
        run="01k" + "0" * 22 + "r",
        name="a",
        owner="local",
        preset="tiny",
        state=RunState.RUNNING,
        created_at=NOW,
        datasets=(),
        total_steps=100,
        last_checkpoint=40,
        checkpoint=facts,
        as_of=NOW,
    )
    screen = Console(width=120, file=io.StringIO(), record=True)
    screen.print(run_facts(run))
    (line,) = (line for line in screen.export_text().splitlines() if "checkpoint" in line)
    assert line.split(maxsplit=1)[1].strip() == words
