"""`synfarm report`: which run it tells of when its user names none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from synfarm.cli.run_of_job import newest_run_on

JOB, FAILED_JOB, RUN, FAILED_RUN = ("01k" + "0" * 22 + digit for digit in "1234")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.integration
def test_the_newest_run_on_the_job_is_told_of(farm: Any, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    done = farm.run("report", JOB, "-o", page)
    assert done.exit_code == 0, done.stderr
    # Both runs of this farm were trained on it; the list has the later id first.
    assert f"With its newest run: {FAILED_RUN} (failed, step 20 of 20)" in done.stderr
    assert FAILED_RUN in page.read_text()
    assert farm.run("report", JOB, "--run", "latest", "-o", page).exit_code == 0
    assert FAILED_RUN in page.read_text()
    assert farm.run("report", JOB, "--run", RUN, "-o", page).exit_code == 0
    assert RUN in page.read_text()


@pytest.mark.integration
def test_a_report_without_a_run(farm: Any, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    without = farm.run("report", JOB, "--no-run", "-o", page, SYNFARM_TRAINER_URL="")
    assert without.exit_code == 0, without.stderr
    assert "tells of no training run" in page.read_text()
    other = farm.run("report", FAILED_JOB, "-o", page)
    assert other.exit_code == 0
    assert "No run that you may see was trained on it" in other.stderr
    assert farm.run("report", FAILED_JOB, "--run", "latest", "-o", page).exit_code == 4
    assert farm.run("report", JOB, "--run", RUN, "--no-run", "-o", page).exit_code == 2


class Runs:
    """Pages of two runs, newest first: (job, step, hours after the job was made)."""

    def __init__(self, *runs: tuple[str, int, float]) -> None:
        self.runs, self.asked = self, 0
        self._all = [
            SimpleNamespace(
                run=str(i), step=step, created_at=NOW + timedelta(hours=hours), datasets=[SimpleNamespace(job=job)]
            )
            for i, (job, step, hours) in enumerate(runs)
        ]

    def list(self, *, cursor: str | None, limit: int) -> Any:
        self.asked += 1
        start = int(cursor or 0)
        more = start + 2 < len(self._all)
        return SimpleNamespace(items=self._all[start : start + 2], next_cursor=str(start + 2) if more else None)


@pytest.mark.parametrize(
    ("runs", "found", "pages"),
    [
        ([("a", 5, 9), ("b", 5, 8), ("a", 5, 7), ("job", 3, 6), ("job", 9, 5)], "3", 2),
        ([("job", 0, 9), ("b", 5, 8), ("job", 7, 7)], "2", 2),
        ([("job", 0, 9), ("b", 5, 8)], "0", 1),
        ([("a", 5, 9), ("b", 5, -2), ("a", 5, -3), ("b", 5, -4)], None, 1),
        ([], None, 1),
    ],
)
def test_the_newest_that_has_learnt_anything(runs: list[tuple[str, int, float]], found: str | None, pages: int) -> None:
    client: Any = Runs(*runs)
    job: Any = SimpleNamespace(job="job", created_at=NOW)
    run = newest_run_on(client, job)
    assert (run.run if run is not None else None) == found
    assert client.asked == pages
