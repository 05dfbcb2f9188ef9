"""What the collage renderer can draw: names, other words for them, and the code points of the emoji that show them."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

from synfarm.contracts.concepts import Concept

__all__ = ["artwork_codes", "drawable_concepts"]


@cache
def drawable_concepts() -> tuple[Concept, ...]:
    """All of them, everyday things first."""
    return tuple(Concept(name=row["name"], synonyms=row["synonyms"]) for row in _rows())


def artwork_codes() -> dict[str, tuple[str, ...]]:
    """Code points of the artwork of each concept, the plainest first: lower-case hexadecimal, joined by hyphens."""
    return {row["name"]: tuple(row["artwork"]) for row in _rows()}


def _rows() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(files(__package__).joinpath("collage.json").read_text(encoding="utf-8"))
    return rows
