"""What a run has learnt, in the rows that its facts, the end of its watching and the demo's summary show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import JsonValue

__all__ = ["knn_rows"]


def knn_rows(evals: Mapping[str, JsonValue]) -> dict[str, str]:
    """k-NN of the untrained and the trained network beside the floors, as far as there are records; else nothing."""
    from synfarm.knn import knn_history

    history = knn_history(evals)
    if history is None:
        return {}
    last = history.last
    split = f"{last.test_images} images of {last.test_captions} held-out captions, {last.classes} concepts"
    rows: dict[str, str] = {}
    if history.before is not None:
        rows["k-NN before"] = f"{history.before} (untrained network; {split})"
    if history.after is not None:
        rows["k-NN after"] = f"{history.after} (after step {history.last_step})"
    if history.floors:
        rows["k-NN floors"] = ", ".join(f"{name} {accuracy}" for name, accuracy in history.floors.items())
    return rows
