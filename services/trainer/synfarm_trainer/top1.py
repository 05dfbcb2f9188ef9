"""The newest share of each evaluation, for whoever tells a run in few numbers."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue

__all__ = ["newest_top1"]


def newest_top1(evals: Mapping[str, JsonValue]) -> dict[str, float]:
    """``top1`` of the newest record of each name in ``{"<step>": {"<name>": {…}}}``; others are left out."""
    found: dict[str, float] = {}
    for step in sorted((step for step in evals if step.isdigit()), key=int):
        named = evals[step]
        for name, record in named.items() if isinstance(named, dict) else ():
            top1 = record.get("top1") if isinstance(record, dict) else None
            if isinstance(top1, float | int):
                found[name] = float(top1)
    return found
