"""k-NN accuracy of the network over its training, and what may honestly be said of it beside the floors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from synfarm.knn import Accuracy, KnnHistory, KnnRecord
from synfarm.report.charts import Dot
from synfarm.report.quantities import count, percent, points, times

__all__ = ["Verdict", "dots", "floor_verdicts", "split_of", "told", "verdicts"]

CLEAR = 2.0
"""Standard errors from which a difference is called one."""


def told(accuracy: Accuracy) -> str:
    """As ``Accuracy`` writes itself, in the report's typography."""
    return f"{percent(accuracy.top1)} ± {100 * accuracy.standard_error:.1f}"


def split_of(history: KnnHistory) -> str:
    """How it was measured, in one sentence."""
    record = history.last
    return (
        f"{times(record.test_images, 'image')} of {times(record.test_captions, 'held-out caption')} are each given "
        f"the concept of {'their ' + count(record.k) if record.k else 'their'} nearest neighbours among "
        f"{times(record.bank_images, 'training image')}; {times(record.classes, 'concept')}"
    )


def dots(history: KnnHistory) -> list[Dot]:
    """Rows of the chart, in per cent: the networks over the floors over chance."""

    def row(label: str, accuracy: Accuracy, kind: str) -> Dot:
        return Dot(label, 100 * accuracy.top1, 100 * accuracy.standard_error, kind)

    rows = [
        row("untrained network" if step == 0 else f"after step {count(step)}", record, "network" if step else "init")
        for step, record in _shown(history.records)
    ]
    rows += [row(name, floor, "floor") for name, floor in history.floors.items()]
    if history.chance is not None:
        rows.append(Dot("chance", 100 * history.chance, None, "floor"))
    return rows


def _shown(records: Sequence[tuple[int, KnnRecord]]) -> list[tuple[int, KnnRecord]]:
    """Every record of a short history, else the first, the last and some between them."""
    most = 6
    if len(records) <= most:
        return list(records)
    return [records[round(i * (len(records) - 1) / (most - 1))] for i in range(most)]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One comparison in words; ``mood`` is ``good``, ``bad`` or ``open``."""

    mood: str
    text: str


def verdicts(history: KnnHistory) -> list[Verdict]:
    """What the numbers allow to be said: the gain from training, then the place beside each floor."""
    after = history.after
    if after is None:
        return [Verdict("open", "No network was evaluated after its training has begun.")]
    found = [_gain(history.before, after)] if history.before is not None else []
    return found + floor_verdicts(history, after)


def floor_verdicts(history: KnnHistory, after: Accuracy) -> list[Verdict]:
    """The trained network's place beside each floor that needs no learning."""
    return [_floor(name, floor, after) for name, floor in history.floors.items()]


def _gain(before: Accuracy, after: Accuracy) -> Verdict:
    difference, errors = _difference(after, before)
    numbers = f"from {told(before)} to {told(after)} ({points(difference)}, {_errors(errors)})"
    if abs(errors) < CLEAR:
        return Verdict(
            "open", f"Training moved k-NN {numbers}: too little to tell from chance with this many pictures."
        )
    if difference > 0:
        return Verdict("good", f"Training moved k-NN {numbers}: the network has learnt from the pictures.")
    return Verdict("bad", f"Training moved k-NN {numbers}: the trained network is worse than the untrained one.")


def _floor(name: str, floor: Accuracy, after: Accuracy) -> Verdict:
    difference, errors = _difference(after, floor)
    numbers = f"{told(after)} against {told(floor)} ({points(difference)}, {_errors(errors)})"
    side = "above" if difference > 0 else "below" if difference < 0 else "level with"
    if abs(errors) < CLEAR:
        tail = "the two cannot be told apart with this many pictures"
        return Verdict("open", f"The trained network is {side} {name}: {numbers}; {tail}.")
    if difference > 0:
        return Verdict("good", f"The trained network is above {name}: {numbers}.")
    text = f"The trained network is below {name}: {numbers}; features that took no learning name the concept better."
    return Verdict("bad", text)


def _difference(a: Accuracy, b: Accuracy) -> tuple[float, float]:
    """The difference, and how many standard errors it is if the two errors were independent."""
    difference, error = a.top1 - b.top1, math.hypot(a.standard_error, b.standard_error)
    if error == 0:
        return difference, 0.0 if difference == 0 else math.copysign(math.inf, difference)
    return difference, difference / error


def _errors(errors: float) -> str:
    return f"{abs(errors):.1f} standard errors" if math.isfinite(errors) else "no error was estimated"
