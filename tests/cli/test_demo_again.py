"""A demo started again: it goes on where it was, shows what is finished, and keeps other demos of its folder apart."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from synfarm.cli.app import app
from synfarm.cli.demo.command import DemoFailed, _Clock, _Demo
from synfarm.cli.demo.memory import MemoryFile
from synfarm.cli.demo.options import DemoOptions, job_request
from synfarm.cli.demo.place import DemoPlace
from synfarm.cli.demo.summary import DemoSummary
from synfarm.cli.display import PlainDisplay
from synfarm.contracts.jobs import JobState
from synfarm.contracts.manifests import Counts
from synfarm.contracts.views import JobView
from synfarm.local.folder import StackFolder

ID = "01hzzzzzzzzzzzzzzzzzzzzzzz"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_the_fingerprint_is_of_what_is_made(tmp_path: Path) -> None:
    one, two = tmp_path / "one.txt", tmp_path / "two.txt"
    one.write_text("dog\napple\n")
    two.write_text("# the same\ndog\n\napple\n")
    of = {path: DemoOptions(concepts=str(path)).fingerprint() for path in (one, two)}
    assert of[one] == of[two]
    one.write_text("dog\nowl\n")
    assert DemoOptions(concepts=str(one)).fingerprint() != of[one]
    assert DemoOptions(concepts=str(two), seed=1).fingerprint() != of[two]
    assert DemoOptions(concepts=str(two), steps=9).fingerprint() != of[two]
    assert DemoOptions(concepts=str(two), data_dir=tmp_path, fresh=True).fingerprint() == of[two]


def test_memory_keeps_each_demo_apart(tmp_path: Path) -> None:
    memory = MemoryFile(tmp_path)
    assert memory.find("a") is None
    assert memory.last() is None
    first = memory.recall("a", {"seed": 0})
    assert memory.recall("a", {"seed": 0}) == first
    memory.keep("a", first.model_copy(update={"run": ID}))
    second = memory.recall("b", {"seed": 1})
    assert second.idempotency_key != first.idempotency_key
    assert memory.last() == second
    assert memory.recall("a", {"seed": 0}).run == ID
    memory.forget("a")
    assert memory.recall("a", {}).run is None
    (tmp_path / "demo.json").write_text("damaged")
    assert memory.find("b") is None


def _summary(folder: Path) -> DemoSummary:
    return DemoSummary(
        job=ID,
        run=ID,
        job_state="completed",
        captions_wanted=480,
        captions_planned=528,
        captions=500,
        images=2000,
        bytes=5_000_000,
        empty=28,
        dead_units=0,
        draws=1000,
        acceptance=0.5,
        rejections={"repeats": 500},
        steps=200,
        losses={"total": 1.5},
        evals={},
        seconds={"captions and images": 90.0},
        folder=folder,
        bucket="synfarm",
    )


def _finished(folder: Path, **options: Any) -> DemoPlace:
    """A folder in which a demo has been finished."""
    place = DemoPlace(DemoOptions(data_dir=folder, **options))
    place.begin()
    (folder / "s3").mkdir(exist_ok=True)
    place.finish(_summary(folder), b"<p>the report")
    return place


def test_a_finished_demo_is_shown_again_without_starting_anything(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    _finished(folder)
    (folder / "report.html").unlink()
    again = CliRunner().invoke(app, ["demo", "--data-dir", str(folder)])
    assert again.exit_code == 0, again.stderr
    for part in (
        "this demo was finished on",
        "nothing is made again",
        "--fresh removes",
        "500 of 48 concepts",
        "report.html",
    ):
        assert part in again.stdout
    assert (folder / "report.html").read_bytes() == b"<p>the report", "each demo's own page"
    assert not (folder / "logs").exists(), "nothing was started"
    as_json = CliRunner().invoke(app, ["demo", "--data-dir", str(folder), "--json"])
    assert DemoSummary.from_bytes(as_json.stdout).report == (folder / "report.html").resolve()


def test_other_options_in_the_same_folder_are_told(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    _finished(folder)
    other = DemoPlace(DemoOptions(data_dir=folder, seed=3, captions=40))
    (note,) = other.begin()
    assert "other options (captions 480 instead of 40, seed 0 instead of 3)" in note
    assert "what it made stays" in note
    (steps,) = DemoPlace(DemoOptions(data_dir=folder, seed=3, captions=40, steps=12)).begin()
    assert "other options (steps the preset's instead of 12)" in steps
    (interrupted,) = DemoPlace(DemoOptions(data_dir=folder, seed=3, captions=40)).begin()
    assert "going on with the demo that was interrupted" in interrupted
    shutil.rmtree(folder / "s3")
    (gone,) = DemoPlace(DemoOptions(data_dir=folder)).begin()
    assert "its data is gone" in gone


def test_fresh_removes_a_demo_and_no_other_farm(tmp_path: Path) -> None:
    place = _finished(tmp_path / "demo")
    place.clear()
    assert not place.folder.exists()
    place.clear()
    farm = tmp_path / "farm"
    with StackFolder(farm):
        (farm / "s3").mkdir()
    refused = CliRunner().invoke(app, ["demo", "--fresh", "--data-dir", str(farm)])
    assert refused.exit_code == 2
    assert "holds a farm's jobs, and no demo" in refused.stderr
    assert (farm / "s3").exists()


class _Jobs:
    """Answers as a farm whose job was cancelled; remembers the keys of the submissions."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    async def submit(self, _: object, *, idempotency_key: str) -> JobView:
        self.keys.append(idempotency_key)
        return await self.get(ID)

    async def get(self, job: str) -> JobView:
        return JobView(
            job=job,
            name="demo",
            owner="local",
            state=JobState.CANCELLED,
            created_at=NOW,
            planned_captions=8,
            planned_units=1,
            counts=Counts(),
            as_of=NOW,
        )


async def test_a_job_that_failed_is_not_found_again_by_the_next_start(tmp_path: Path) -> None:
    options = DemoOptions(data_dir=tmp_path / "demo")
    place = DemoPlace(options)
    place.begin()
    client: Any = type("Client", (), {"jobs": _Jobs()})()
    stack: Any = None
    with (tmp_path / "out").open("w") as out:
        demo = _Demo(options, job_request(options), place, stack, _Clock(), PlainDisplay(Console(file=out)))
        for _ in range(2):
            with pytest.raises(DemoFailed, match="ended cancelled: no reason given"):
                await demo._generate(client)
    first, second = client.jobs.keys
    assert first != second, "the same key would find the cancelled job again"
