"""Tables on a terminal of 80 columns: every column is there, ids are whole, and texts are folded, not cut."""

from __future__ import annotations

import io
import re
from pathlib import Path
from textwrap import indent
from typing import Any

import pytest
from rich.console import Console

from synfarm.cli import screen
from synfarm.cli.tables import jobs_table, table
from synfarm.contracts.base import utc_now
from synfarm.contracts.jobs import JobState
from synfarm.contracts.manifests import Counts
from synfarm.contracts.tries import TryAnswer
from synfarm.contracts.views import JobView

COLUMNS = 80


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screen, "_PIPE_WIDTH", COLUMNS)


def texts(shown: str, column: str) -> str:
    """What stands below a column's name, folded lines joined."""
    head, _, *lines = shown.splitlines()
    start = head.index(column)
    end = next((start + match.end() - 1 for match in re.finditer(r"\s{2,}\S", head[start:])), None)
    return "".join(line[start:end].strip() + " " for line in lines)


@pytest.mark.integration
@pytest.mark.usefixtures("narrow")
def test_a_try_shows_every_column_and_whole_texts(farm: Any, tmp_path: Path) -> None:
    (tmp_path / "yards.json").write_text('["a snowy yard behind the house"]')
    words = ("dog", "owl", "-n", "6", "--templates", "c=0.5 c,bg=0.5", "--backgrounds", tmp_path / "yards.json")
    shown = farm.run("captions", "try", *words).stdout
    assert shown.splitlines()[0].split() == ["concept", "template", "second", "text", "refused"]
    assert "concept_lost" in shown
    assert max(map(len, shown.splitlines())) <= COLUMNS
    answer = TryAnswer.from_bytes(farm.run("captions", "try", *words, "--json").stdout)
    asked = [(item.text or " ".join(item.answer.split())).split() for item in answer.items]
    assert texts(shown, "text").split() == [word for caption in asked for word in caption]


@pytest.mark.integration
@pytest.mark.usefixtures("narrow")
def test_prompts_stand_below_their_rows_as_they_are(farm: Any) -> None:
    words = ("captions", "try", "dog", "owl", "-n", "2")
    answer = TryAnswer.from_bytes(farm.run(*words, "--json").stdout)
    shown = farm.run(*words, "--prompts").stdout
    assert shown.splitlines()[0].split() == ["concept", "text", "refused"]
    assert shown.count("refused") == 1
    rest = shown
    for item in answer.items:
        _, found, rest = rest.partition(indent(item.prompt, "   ") + "\n")
        assert found, (item.prompt, shown)


@pytest.mark.integration
@pytest.mark.usefixtures("narrow")
def test_jobs_of_a_farm(farm: Any) -> None:
    listed = farm.run("jobs", "list", "-n", "200").stdout
    assert {"job", "name", "state", "done"} <= set(listed.splitlines()[0].split())
    assert re.search(rf"^{'01k' + '0' * 22 + '1'} +job +completed", listed, re.MULTILINE), listed


def columns_of(name: str, width: int) -> list[str]:
    view = JobView(
        job="01k" + "0" * 22 + "7",
        owner="ada",
        name=name,
        state=JobState.COMPLETED_WITH_ERRORS,
        created_at=utc_now(),
        as_of=utc_now(),
        planned_captions=1000,
        planned_units=10,
        counts=Counts(captions=999, images=3996),
    )
    console = Console(width=width, file=io.StringIO())
    console.print(jobs_table([view], console))
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert any(line.startswith(f"{view.job} ") for line in lines), "an id is there to be copied"
    assert any("999/1000" in line for line in lines)
    return lines[0].split()


def test_columns_go_one_by_one_where_there_is_no_room() -> None:
    everything = ["job", "name", "state", "done", "captions", "images", "img/s", "ETA", "made"]
    long = "herons by the river " * 3
    assert columns_of(long, 110) == everything
    assert columns_of(long, 109) == everything[:6]
    assert columns_of(long, 80) == everything[:6]
    assert columns_of("a", 100) == everything[:6]
    assert columns_of("a" * 3, 109) == [*everything[:6], "made"]


def test_reasons_are_whole_and_texts_keep_a_width_that_can_be_read() -> None:
    console = Console(width=80, file=io.StringIO())
    rows = table("concept", "second", "text", "refused")
    rows.add_row("a very long concept " * 3, "yards " * 20, "a dog in a yard " * 9, "near_duplicate of_this_job")
    console.print(rows)
    assert isinstance(console.file, io.StringIO)
    _, _, first, *_ = console.file.getvalue().splitlines()
    assert "near_duplicate of_this_job" in first
    assert "a dog in a" in first
