"""Curves in a terminal: the dots, what is read for them, and the screen of a run that is watched."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from synfarm.cli.curves.braille import draw
from synfarm.cli.curves.history import RunHistory
from synfarm.cli.curves.screen import RunScreen
from synfarm.contracts.pages import MetricsPage
from synfarm.contracts.runs import StepMetrics
from synfarm.contracts.views import RunView

RUN = "01k" + "0" * 23
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def _view(step: int, attempt: int = 0, resumed: int = 0, total: int = 200) -> RunView:
    evals = {"0": {"knn": {"top1": 0.1, "standard_error": 0.01}}, "5": {"knn": {"top1": 0.2, "standard_error": 0.01}}}
    return RunView.model_validate(
        {"run": RUN, "name": "first", "owner": "ada", "preset": "tiny", "state": "running", "created_at": NOW}
        | {"datasets": (), "step": step, "total_steps": total, "attempt": attempt, "resumed_step": resumed}
        | {"evals": evals, "as_of": NOW, "losses": {"total": 1.0}}
    )


class Trainer:
    """Answers for metrics, with losses that tell their step."""

    def __init__(self) -> None:
        self.steps, self.lines, self.requests = 0, 0, 0
        self.runs = SimpleNamespace(metrics=self._metrics)

    def _metrics(self, run: str, since: int, *, limit: int) -> MetricsPage:
        self.requests += 1
        items = tuple(_line(step) for step in range(since + 1, min(self.steps, since + limit) + 1))
        self.lines += len(items)
        return MetricsPage(items=items, next_since=items[-1].step if items else since)


def _line(step: int) -> StepMetrics:
    return StepMetrics.model_construct(step=step, losses={"total": float(step), "ibot": 1.0}, images_per_second=8.0)


def test_a_rising_line_goes_from_the_lower_left_to_the_upper_right() -> None:
    drawn = draw([[(0, 0.0), (7, 7.0)]], 4, 2)
    assert drawn is not None
    assert (drawn.low, drawn.high) == (0.0, 7.0)
    rows = ["".join(character for character, _ in row) for row in drawn.rows]
    assert (rows[1][0], rows[0][-1]) == ("⡠", "⠊")
    flat = draw([[(0, 1.0), (7, 1.0)], [(3, 1.0)]], 4, 1)
    assert flat is not None
    assert {number for _, number in flat.rows[0]} == {0, 1}
    assert draw([[(0, float("nan"))], []], 4, 2) is None


def test_points_far_apart_are_joined_by_a_straight_line() -> None:
    drawn = draw([[(0, 0.0), (100, 4.0)]], 10, 1)
    assert drawn is not None
    assert all(character != "\u2800" for character, _ in drawn.rows[0])


def test_a_short_run_is_read_whole_and_once() -> None:
    trainer, history = Trainer(), RunHistory()
    for trainer.steps in (100, 150):
        history.refresh(trainer, _view(trainer.steps))  # type: ignore[arg-type]
    assert trainer.lines == 150
    assert history.losses["total"] == [(step, float(step)) for step in range(1, 151)]


def test_a_long_run_is_read_in_pieces_and_kept_in_bounds() -> None:
    trainer, history = Trainer(), RunHistory()
    trainer.steps = 5_000_000
    history.refresh(trainer, _view(trainer.steps, total=10**7))  # type: ignore[arg-type]
    assert trainer.lines <= 1000
    line = history.losses["total"]
    assert line[0][0] == 1
    assert line[-1][0] == trainer.steps
    assert all(step == value for step, value in line), "in order, each with its own value"
    for trainer.steps in range(5_001_000, 5_020_000, 1000):
        history.refresh(trainer, _view(trainer.steps, total=10**7))  # type: ignore[arg-type]
    assert len(history.losses["total"]) <= 2000


def test_what_a_new_start_goes_back_behind_is_forgotten() -> None:
    trainer, history = Trainer(), RunHistory()
    trainer.steps = 50
    history.refresh(trainer, _view(50))  # type: ignore[arg-type]
    trainer.steps = 42
    history.refresh(trainer, _view(42, attempt=1, resumed=40))  # type: ignore[arg-type]
    assert [step for step, _ in history.speed] == list(range(1, 43))


@pytest.mark.parametrize("width", [70, 140])
def test_the_screen_shows_losses_speed_and_evaluations(width: int) -> None:
    trainer, page = Trainer(), io.StringIO()
    trainer.steps = 100
    console = Console(file=page, force_terminal=True, width=width, height=50, color_system=None)
    screen = RunScreen(console, trainer)  # type: ignore[arg-type]
    with screen.drawing:
        screen.run(_view(100))
    shown = page.getvalue()
    for words in ("first", "running", "step 100/200", "loss  total 100  ibot 1", "images/s  8", "top-1, %  knn 20.0"):
        assert words in shown, words
    assert any("\u2801" <= character <= "\u28ff" for character in shown)
    assert all(len(line) <= width for line in shown.splitlines() if "\x1b" not in line)


@pytest.mark.integration
def test_watching_without_a_terminal_tells_lines(farm: Any) -> None:
    done = farm.run("runs", "watch", "01k" + "0" * 22 + "3")
    assert "step 20/20 · total 2.000" in done.stderr
    assert not any("\u2800" <= character <= "\u28ff" for character in done.stderr)
