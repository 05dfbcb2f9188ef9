"""A stranger's words command no terminal: no matter by which command and in which form they are shown."""

from __future__ import annotations

import io
import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Group
from rich.progress import Progress, TextColumn
from rich.text import Text

from synfarm.cli.display import open_display
from synfarm.cli.exits import CommandFailed
from synfarm.cli.group import _tell
from synfarm.cli.meter import meter
from synfarm.cli.screen import output, say, write_json
from synfarm.cli.tables import facts, table
from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.captions import CaptionRecord, write_jsonl
from synfarm.contracts.ids import caption_id
from synfarm.contracts.views import JobView
from synfarm.contracts.workers import WorkerInfo
from synfarm.queue.app import connect
from synfarm.queue.keys import Keys
from synfarm.safe_text import visible
from synfarm.settings import RedisSettings
from synfarm.telemetry import configure_logging

# Clears the screen, sets the window's title, a colour by C1's CSI, rings, overwrites its line, turns the direction.
HOSTILE = "a \x1b[2J\x1b]0;owned\x07 dog \x9b31m\x07\x08\rsafe \u202ekcatta\u202c [/b] :fire:"
SHOWN = visible(HOSTILE)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """stdout and stderr as a terminal without colours: what rich does by itself, then, is to move the cursor.

    No fixture: pytest sets its own streams anew before the test itself.
    """
    made = Terminal()
    for name, value in {"TERM": "xterm", "NO_COLOR": "1", "COLUMNS": "200"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stdout", made)
    monkeypatch.setattr("sys.stderr", made)
    return made


def test_in_whatever_rich_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = terminal(monkeypatch)
    rows = table("concept", HOSTILE)
    rows.add_row("dog", HOSTILE)
    rows.add_row("dog", Text(HOSTILE, style="red"))
    screen = output()
    screen.print(rows)
    screen.print(facts({"name": HOSTILE}))
    screen.print(Group(Text(HOSTILE), HOSTILE), HOSTILE)
    say(screen, HOSTILE, "bold")
    _tell(CommandFailed(HOSTILE))
    for acts in "\x07\x08\x9b\u202e":
        assert acts not in shown.getvalue()
    for commands in ("\x1b[2J", "\x1b]0", "\rsafe"):
        assert commands not in shown.getvalue()
    words = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", shown.getvalue()).split())
    assert words.count("\ufffdkcatta\ufffd [/b] :fire:") == 9, "the rest is there, and no markup"


def test_in_live_views(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = terminal(monkeypatch)
    with meter(HOSTILE) as show:
        show(HOSTILE)
    display, drawing = open_display(output())
    with drawing:
        display.note(HOSTILE)
        display.stage(HOSTILE)
    with Progress(TextColumn("{task.fields[text]}", markup=False), console=output()) as progress:
        progress.add_task("x", text=HOSTILE)
    told = shown.getvalue()
    assert told.count("a \ufffd[2J\ufffd]0;owned") >= 4
    for commands in ("\x1b[2J", "\x1b]0", "\x07", "\x9b", "\u202e"):
        assert commands not in told


def test_json_is_exact_and_acts_on_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    write_json({"words": HOSTILE})
    told = capsys.readouterr().out
    assert json.loads(told) == {"words": HOSTILE}
    assert told.removesuffix("\n").isprintable()


def test_in_logs(run: Any, tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "trainer.log").write_bytes(f"{HOSTILE}\n".encode() + b"\xff\n")
    told = run("logs", "--data-dir", tmp_path)
    assert told.stdout == f"{SHOWN}\n\ufffd\n"
    exact = run("logs", "--data-dir", tmp_path, "--json").stdout.splitlines()
    assert json.loads(exact[0])["line"] == HOSTILE
    assert exact[0].isprintable()


def test_in_log_lines_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    before = logging.getLogger().handlers[:]
    try:
        configure_logging("info", "console")
        logging.getLogger("x").info("first\n2026-01-01T00:00:00Z [error] forged %s", HOSTILE)
        try:
            raise ValueError(f"{HOSTILE}\n2026-01-01T00:00:00Z [error] forged")
        except ValueError:
            logging.getLogger("x").exception("it fell")
    finally:
        logging.getLogger().handlers[:] = before
    lines = capsys.readouterr().err.splitlines()
    assert all(line.isprintable() for line in lines)
    assert "\\u001b[2J" in lines[1]
    assert {line[:4] for line in lines if "forged" in line} == {"    "}, "no event of its own"


@pytest.mark.integration
def test_a_stranger_s_job_and_worker(farm: Any, redis_server: Any) -> None:
    job = farm.run("jobs", "submit", "-c", "dog", "--captions", "1", "-q").stdout.strip()
    record = CaptionRecord(
        caption_id=caption_id(job, 0), index=0, concept="dog", text=HOSTILE, draws=1, llm_seed=0, llm_model="m"
    )
    farm.store.put(layout.captions(job, 0), write_jsonl([record]))
    redis, keys = connect(RedisSettings(url=redis_server.url(database=9))), Keys("synfarm")
    mallory = WorkerInfo(
        id="mallory", kind="render", host=HOSTILE, model=HOSTILE, gpu=HOSTILE, trouble=HOSTILE, started_at=utc_now()
    )
    try:
        redis.set(keys.worker("mallory"), mallory.to_bytes(), px=60_000)
        redis.sadd(keys.workers, "mallory")
        told = [farm.run("jobs", "captions", job), farm.run("workers")]
        exact = farm.run("jobs", "captions", job, "--json")
    finally:
        redis.delete(keys.worker("mallory"))
        redis.close()
    for done in told:
        assert done.exit_code == 0, done.stderr
        assert "kcatta" in done.stdout, done.stderr
        assert all(line.isprintable() for line in (done.stdout + done.stderr).splitlines())
    assert "could not load" in told[1].stderr
    assert json.loads(exact.stdout)["items"][0]["text"] == HOSTILE


def test_views_of_a_job_and_its_watching(capsys: pytest.CaptureFixture[str], farm: Any) -> None:
    view = JobView.from_bytes(farm.run("jobs", "show", "01k" + "0" * 22 + "1", "--json").stdout)
    view = view.model_copy(update={"stalled": HOSTILE, "reason": HOSTILE, "rejections": {HOSTILE: 1}})
    display, _ = open_display(output())
    display.job(view)
    assert all(line.isprintable() for line in capsys.readouterr().out.splitlines())


def test_nothing_else_writes_to_the_terminal() -> None:
    """Consoles are made in one place; what writes past them writes JSON, or cleans. (The linter refuses ``print``.)"""
    past: dict[str, set[str]] = {}
    root = Path(__file__).resolve().parents[2] / "src" / "synfarm"
    for file in root.rglob("*.py"):
        calls = r"\bConsole\(|typer\.s?echo|sys\.std(?:out|err)\.write"
        if found := set(re.findall(calls, file.read_text(encoding="utf-8"))):
            past[file.relative_to(root).as_posix()] = found
    assert past == {
        "cli/app.py": {"typer.echo"},  # the version
        "cli/detached.py": {"sys.stdout.write"},  # JSON in ASCII, to its parent
        "cli/logs.py": {"sys.stdout.write"},
        "cli/screen.py": {"sys.stdout.write"},
        "housekeeping/__main__.py": {"sys.stdout.write"},  # JSON
    }
