"""`synfarm runs compare`: what runs differ in, what they came to, and their curves over each other."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from synfarm.cli.curves.history import RunHistory
from synfarm.cli.curves.panels import chart
from synfarm.cli.evaluations import EvaluationRow, evaluation_rows
from synfarm.cli.exits import CommandFailed, ExitCode
from synfarm.cli.farm import Farm
from synfarm.cli.identify import run_id
from synfarm.cli.options import Json, on_farm
from synfarm.cli.screen import output, say, write_json
from synfarm.cli.submission import cures_of_the_command
from synfarm.cli.tables import table

if TYPE_CHECKING:
    from rich.table import Table

    from synfarm.contracts.runs import RunSpec
    from synfarm.contracts.views import RunView
    from synfarm.sdk import Client

__all__ = ["compare"]

_LAST = 50
"""Steps whose losses are averaged: a single step's is noise."""
_MOST_RUNS = 6
"""Lines that can be told apart."""


@dataclass(frozen=True, slots=True)
class _Side:
    """One run of the comparison."""

    label: str
    view: RunView
    spec: RunSpec
    settings: Mapping[str, Any]
    losses: Mapping[str, float]
    """Means over the last steps."""
    evaluations: Sequence[EvaluationRow]
    history: RunHistory

    def latest(self) -> dict[str, EvaluationRow]:
        return {row.name: row for row in self.evaluations}


@on_farm
def compare(
    farm: Farm,
    runs: Annotated[list[str], typer.Argument(metavar="RUN RUN...", help="Two to six ids; one may be 'latest'.")],
    as_json: Json = False,
) -> None:
    """Runs beside each other: settings that differ, last losses, evaluations with their standard errors, curves."""
    if not 2 <= len(runs) <= _MOST_RUNS:
        raise CommandFailed(f"name two to {_MOST_RUNS} runs; `synfarm runs list` shows them.", ExitCode.REFUSED)
    with farm.client("trainer") as client, cures_of_the_command():
        ids = [run_id(client, run) for run in runs]
        if len(set(ids)) != len(ids):
            raise CommandFailed("a run is named twice.", ExitCode.REFUSED)
        sides = [_side(client, run, chr(ord("A") + place)) for place, run in enumerate(ids)]
    write_json(_answer(sides)) if as_json else _tell(sides)


def _side(client: Client, run: str, label: str) -> _Side:
    view, spec = client.runs.get(run), client.runs.spec(run)
    last = client.runs.metrics(run, max(0, view.step - _LAST), limit=_LAST).items
    names = dict.fromkeys(name for line in last for name in line.losses)
    losses = {}
    for name in names:
        values = [line.losses[name] for line in last if name in line.losses]
        losses[name] = sum(values) / len(values)
    history = RunHistory()
    history.refresh(client, view)
    return _Side(label, view, spec, dict(_settings(spec)), losses, evaluation_rows(view.evals), history)


def _settings(spec: RunSpec) -> Iterator[tuple[str, Any]]:
    yield "preset", spec.preset
    yield "seed", spec.seed
    yield "ranks", spec.ranks
    yield "data", ", ".join(f"{data.job}/{data.generation}" for data in spec.datasets)
    yield from _flat(spec.config, "")


def _flat(config: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in config.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _differing(sides: Sequence[_Side]) -> dict[str, list[Any]]:
    """Values by setting, in order of the runs; None where a run has no such setting."""
    names = dict.fromkeys(name for side in sides for name in side.settings)
    values = {name: [side.settings.get(name) for side in sides] for name in names}
    return {name: found for name, found in values.items() if any(value != found[0] for value in found)}


def _answer(sides: Sequence[_Side]) -> dict[str, object]:
    return {
        "runs": [
            {
                "run": side.view.run,
                "name": side.view.name,
                "state": side.view.state.value,
                "step": side.view.step,
                "losses": dict(side.losses),
                "images_per_second": side.view.images_per_second,
                "evals": side.view.evals,
            }
            for side in sides
        ],
        "differences": _differing(sides),
    }


def _tell(sides: Sequence[_Side]) -> None:
    screen = output()
    screen.print(_results(sides))
    say(screen, "")
    differing = _differing(sides)
    if differing:
        made = table("setting", *(side.label for side in sides))
        for name, values in differing.items():
            made.add_row(name, *("-" if value is None else _short(value) for value in values))
        screen.print(made)
    else:
        say(screen, "The settings are the same, seeds and data too.")
    say(screen, "")
    terms = list(dict.fromkeys(name for side in sides for name in side.history.losses))
    # A term that equals the total, as of a loss of one term, is drawn once.
    for term in terms if len(terms) > 2 else terms[-1:]:
        lines = {side.label: side.history.losses.get(term, []) for side in sides}
        screen.print(chart(f"loss: {term}", lines, min(screen.width, 120) - 1, 8))
    top1 = {
        f"{side.label} {name}": [
            (row.step, 100 * row.top1.top1) for row in side.evaluations if row.name == name and row.top1 is not None
        ]
        for name in dict.fromkeys(row.name for side in sides for row in side.evaluations)
        for side in sides
    }
    if any(len(line) > 1 for line in top1.values()):
        screen.print(chart("top-1, %", top1, min(screen.width, 120) - 1, 6, ".1f"))


def _results(sides: Sequence[_Side]) -> Table:
    made = table("", *(side.label for side in sides))

    def row(name: str, values: Sequence[str]) -> None:
        made.add_row(name, *values)

    row("run", [side.view.run for side in sides])
    row("name", [side.view.name for side in sides])
    row("state", [side.view.state.value for side in sides])
    row("step", [f"{side.view.step:,} of {side.view.total_steps:,}" for side in sides])
    rates = [side.view.images_per_second for side in sides]
    row("images/s", ["-" if rate is None else f"{rate:.1f}" for rate in rates])
    for term in dict.fromkeys(name for side in sides for name in side.losses):
        row(f"loss {term}, last {_LAST} steps", [_number(side.losses.get(term)) for side in sides])
    latest = [side.latest() for side in sides]
    for name in dict.fromkeys(name for found in latest for name in found):
        row(f"{name}, top-1", [_share(found.get(name)) for found in latest])
    return made


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _share(row: EvaluationRow | None) -> str:
    return "-" if row is None or row.top1 is None else f"{row.top1} (step {row.step:,})"


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value
    return text if len(text) <= 60 else f"{text[:57]}..."
