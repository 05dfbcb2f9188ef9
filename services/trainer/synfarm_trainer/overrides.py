"""Dotted, typed overrides of a configuration, with near names for those that do not exist."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from synfarm_trainer.config import TrainConfig, from_dict, to_dict

__all__ = ["apply_overrides", "field_names"]


def field_names(config: TrainConfig) -> tuple[str, ...]:
    """Every dotted name that may be overridden."""
    return tuple(f"{section}.{name}" for section, values in to_dict(config).items() for name in values)


def apply_overrides(config: TrainConfig, overrides: Mapping[str, object]) -> TrainConfig:
    """A new configuration; the rules between fields are checked again on the whole.

    Raises:
        ValueError: the message begins with the dotted name and, for an unknown one, ends with near names.
    """
    known = field_names(config)
    tree: dict[str, dict[str, Any]] = to_dict(config)
    for name, value in overrides.items():
        if name not in known:
            near = get_close_matches(name, known, n=3, cutoff=0.5)
            near = near or [full for full in known if full.split(".")[-1] == name.split(".")[-1]]
            hint = f"did you mean {' or '.join(near)}?" if near else f"sections: {', '.join(tree)}"
            raise ValueError(f"{name}: no such field; {hint}")
        section, _, leaf = name.partition(".")
        tree[section][leaf] = value
    return from_dict(tree)
