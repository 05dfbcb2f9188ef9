"""The configuration as plain JSON values and back, strictly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from synfarm_trainer.config.checks import late_defaults, need, one_of
from synfarm_trainer.config.objectives import OBJECTIVES, ObjectiveConfig
from synfarm_trainer.config.train import TrainConfig

__all__ = ["coerce", "from_dict", "to_dict"]

T = TypeVar("T")


def coerce(value: object, kind: object, name: str) -> Any:
    """``value`` as the field type ``kind``, strictly: no text for numbers, no 1 for true.

    Raises:
        ValueError: it does not fit; the message begins with ``name``.
    """
    if get_origin(kind) is Literal:
        one_of(value, get_args(kind), name)
        return value
    if get_origin(kind) is tuple:
        kinds = get_args(kind)
        if kinds[1:] == (...,):
            if not isinstance(value, list | tuple):
                raise ValueError(f"{name}: must be a list, not {value!r}")
            return tuple(coerce(item, kinds[0], name) for item in value)
        if not isinstance(value, list | tuple) or len(value) != len(kinds):
            raise ValueError(f"{name}: must be a list of {len(kinds)} numbers, not {value!r}")
        return tuple(coerce(item, sub, name) for item, sub in zip(value, kinds, strict=True))
    if get_origin(kind) is Mapping:
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            raise ValueError(f"{name}: must be an object of names and numbers, not {value!r}")
        return {key: coerce(item, get_args(kind)[1], f"{name}.{key}") for key, item in sorted(value.items())}
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = float("inf")
        need(number - number == 0.0, name, "must be a finite number")
        return number
    if isinstance(kind, type) and type(value) is kind:
        return value
    wanted = kind.__name__ if isinstance(kind, type) else str(kind)
    raise ValueError(f"{name}: must be of type {wanted}, not {value!r}")


def to_dict(config: object) -> dict[str, Any]:
    """The tree as plain JSON values, every field named."""
    if not is_dataclass(config):
        raise TypeError(f"not a configuration: {type(config).__name__}")
    found: dict[str, Any] = {}
    for item in fields(config):
        value = getattr(config, item.name)
        if is_dataclass(value):
            found[item.name] = to_dict(value)
        elif isinstance(value, Mapping):
            found[item.name] = dict(value)
        else:
            found[item.name] = list(value) if isinstance(value, tuple) else value
    return found


def _chosen(data: object, path: str) -> type[ObjectiveConfig]:
    """The class of the objective that the section names."""
    name = data.get("name") if isinstance(data, dict) else None
    near = get_close_matches(str(name), OBJECTIVES, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(OBJECTIVES)}"
    need(isinstance(name, str) and name in OBJECTIVES, f"{path}.name", f"no objective {name!r}; {hint}")
    return OBJECTIVES[str(name)]


def _build(kind: type[T], data: object, path: str) -> T:
    if not isinstance(data, dict):
        raise ValueError(f"{path or 'config'}: must be an object")
    hints = get_type_hints(kind)
    prefix = f"{path}." if path else ""
    data = {**late_defaults(kind), **data}
    unknown, missing = sorted(set(data) - set(hints)), sorted(set(hints) - set(data))
    need(not unknown, prefix + (unknown or [""])[0], "no such field")
    need(not missing, prefix + (missing or [""])[0], "missing")
    values: dict[str, Any] = {}
    for name, hint in hints.items():
        kind_of = _chosen(data[name], prefix + name) if hint is ObjectiveConfig else hint
        nested = isinstance(kind_of, type) and is_dataclass(kind_of)
        values[name] = _build(kind_of, data[name], prefix + name) if nested else coerce(data[name], hint, prefix + name)
    return kind(**values)


def from_dict(data: object) -> TrainConfig:
    """The tree of :func:`to_dict`, strictly: every field present, none unknown, each of its type.

    Fields that came later than the first runs may be absent: a run frozen before them goes on as it would have.

    Raises:
        ValueError: the message begins with the dotted name of the field.
    """
    return _build(TrainConfig, data, "")
