"""Dotted, typed overrides of a configuration, with near names for those that do not exist."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from synfarm_trainer.config import OBJECTIVES, SIZES, TrainConfig, family_fields, from_dict, to_dict
from synfarm_trainer.config.checks import need

__all__ = ["apply_overrides", "field_names"]


def field_names(config: TrainConfig) -> tuple[str, ...]:
    """Every dotted name that may be overridden."""
    return tuple(f"{section}.{name}" for section, values in to_dict(config).items() for name in values)


def _other_objective(section: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The section of another objective: its own defaults, in the widths that the preset chose."""
    made: dict[str, Any] = to_dict(OBJECTIVES[name](name=name))
    chosen = {of: section[size] for size, of in SIZES.items() if size in section}
    return {**made, **{size: chosen[of] for size, of in SIZES.items() if size in made and of in chosen}}


def _unknown(name: str, tree: Mapping[str, Mapping[str, Any]], known: Sequence[str]) -> str:
    """What is wrong with a name that no field has, and the nearest that there are."""
    section, _, leaf = name.partition(".")
    if name in tree:
        return f"is a section; name one of its fields: {', '.join(f'{name}.{field}' for field in tree[name])}"
    # Within a section that there is, its own name must not count as likeness.
    if section in tree:
        near = [f"{section}.{field}" for field in get_close_matches(leaf, tree[section], n=3)]
    else:
        near = get_close_matches(name, known, n=3, cutoff=0.7)
    near = near or [full for full in known if full.split(".")[-1] == name.split(".")[-1]]
    if near:
        return f"no such field; did you mean {' or '.join(near)}?"
    sections = get_close_matches(section, tree, n=1)
    if section not in tree and sections:
        return f"no such section; did you mean {sections[0]}?"
    there = f"fields of {section}: {', '.join(tree[section])}" if section in tree else f"sections: {', '.join(tree)}"
    return f"no such field; {there}"


def _named_sizes(name: object) -> dict[str, object]:
    """What the name of one of timm's ViTs settles. Loads torch, and only if there is a name."""
    if not isinstance(name, str) or not name:
        return {}
    from synfarm_trainer.models.timm_names import SIZES as fields
    from synfarm_trainer.models.timm_names import named_arguments

    arguments = named_arguments(name)
    return {f"model.{field}": arguments[argument] for field, argument in fields.items()}


def apply_overrides(config: TrainConfig, overrides: Mapping[str, object]) -> TrainConfig:
    """A new configuration; the rules between fields are checked again on the whole.

    ``augment.name`` sets all fields of its family; those that are named beside it win, in whatever order.
    ``model.timm`` sets the sizes of the backbone; others beside it are refused.

    Raises:
        ValueError: the message begins with the dotted name and, for an unknown one, ends with near names.
    """
    tree: dict[str, dict[str, Any]] = to_dict(config)
    chosen = overrides.get("objective.name", config.objective.name)
    if isinstance(chosen, str) and chosen != config.objective.name and chosen in OBJECTIVES:
        tree["objective"] = _other_objective(tree["objective"], chosen)
    known = [f"{section}.{name}" for section, values in tree.items() for name in values]
    family = family_fields(overrides["augment.name"]) if "augment.name" in overrides else {}
    sizes = _named_sizes(overrides.get("model.timm", config.model.timm))
    for name, value in sizes.items():
        given = overrides.get(name, value)
        need(given == value, name, f"timm's model has {value}, not {given}; leave it out, or set model.timm to ''")
    for name, value in {**family, **sizes, **overrides}.items():
        if name not in known:
            raise ValueError(f"{name}: {_unknown(name, tree, known)}")
        section, _, leaf = name.partition(".")
        tree[section][leaf] = value
    return from_dict(tree)
