"""The paper's figures, to stand beside one's own."""

from __future__ import annotations

import json
from collections.abc import Collection
from importlib.resources import files

__all__ = ["paper_scores"]


def paper_scores(sets: Collection[str]) -> dict[str, dict[str, float]]:
    """By model, in percent, those of ``sets`` that the paper has; models without any are left out."""
    told = json.loads((files("synfarm_trainer.evals") / "paper.json").read_text(encoding="utf-8"))
    every: dict[str, dict[str, float]] = {}
    for columns, rows in ((told["columns"], told["rows"]), (told["unseen_columns"], told["unseen"])):
        for model, scores in rows.items():
            every.setdefault(model, {}).update(zip(columns, scores, strict=True))
    found = {model: {name: score for name, score in of.items() if name in sets} for model, of in every.items()}
    return {model: scores for model, scores in found.items() if scores}
