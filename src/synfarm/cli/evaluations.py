"""A run's evaluations as rows, whatever their names; and the command that shows them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from synfarm.cli.farm import Farm
from synfarm.cli.identify import RunArgument, run_id
from synfarm.cli.options import Json, on_farm
from synfarm.cli.screen import errors, output, say, write_json
from synfarm.cli.submission import cures_of_the_command
from synfarm.cli.tables import table

if TYPE_CHECKING:
    from pydantic import JsonValue

    from synfarm.knn import Accuracy

__all__ = ["EvaluationRow", "evals", "evaluation_rows"]


@dataclass(frozen=True, slots=True)
class EvaluationRow:
    """One record of ``evals/<step>/<name>.json``."""

    step: int
    name: str
    top1: Accuracy | None
    floors: Mapping[str, Accuracy] = field(default_factory=dict)
    """By name: on the same split, without anything learnt."""
    others: Mapping[str, str] = field(default_factory=dict)
    """Every other number, text or flag of it."""


def evaluation_rows(evals: Mapping[str, JsonValue]) -> list[EvaluationRow]:
    """By step, then by name, of ``{"<step>": {"<name>": {…}}}``."""
    return sorted(_rows(evals), key=lambda row: (row.step, row.name))


def _rows(evals: Mapping[str, JsonValue]) -> Iterator[EvaluationRow]:
    for step, named in evals.items():
        if not step.isascii() or not step.isdigit() or not isinstance(named, dict):
            continue
        for name, record in named.items():
            if not isinstance(record, dict):
                continue
            floors = record.get("floors")
            known = {kind: _accuracy(floor) for kind, floor in floors.items()} if isinstance(floors, dict) else {}
            yield EvaluationRow(
                int(step),
                name,
                _accuracy(record),
                {kind.replace("_", " "): floor for kind, floor in known.items() if floor is not None},
                {
                    key: format(value, ".4g") if isinstance(value, float) else str(value)
                    for key, value in record.items()
                    if isinstance(value, int | float | str) and key not in {"name", "step", "top1", "standard_error"}
                },
            )


def _accuracy(record: JsonValue) -> Accuracy | None:
    from pydantic import ValidationError

    from synfarm.knn import Accuracy

    try:
        return Accuracy.model_validate(record)
    except ValidationError:
        return None


@on_farm
def evals(farm: Farm, run: RunArgument, as_json: Json = False) -> None:
    """A run's evaluations by step, each with its standard error."""
    with farm.client("trainer") as client, cures_of_the_command():
        found = client.runs.evals(run_id(client, run))
    if as_json:
        write_json({"evals": found})
        return
    rows = evaluation_rows(found)
    if not rows:
        say(errors(), "No evaluation yet: the first is made before the first step, if the configuration asks for any.")
        return
    made = table("step", "evaluation", "top-1", "of", right=("step", "top-1"))
    for row in rows:
        about = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in row.others.items())
        made.add_row(f"{row.step:,}", row.name, str(row.top1) if row.top1 else "-", about)
    for name, floor in rows[-1].floors.items():
        made.add_row("-", name, str(floor), "no learning")
    output().print(made)
