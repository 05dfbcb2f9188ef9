"""How a field of the configuration is checked, and how one is added when runs are frozen without it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import MISSING, field, fields
from difflib import get_close_matches
from typing import Any, TypeVar

__all__ = ["late_defaults", "later", "need", "one_of"]

T = TypeVar("T")
_LATER = {"later": True}


def need(condition: bool, name: str, message: str) -> None:
    """Raises:
    ValueError: ``<name>: <message>`` if the condition does not hold.
    """
    if not condition:
        raise ValueError(f"{name}: {message}")


def one_of(value: object, choices: Collection[object], name: str) -> None:
    """Raises:
    ValueError: ``value`` is none of the choices, which the message names, the near ones first.
    """
    names = [str(choice) for choice in choices]
    near = get_close_matches(str(value), names, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    need(any(value == choice for choice in choices), name, f"must be one of {', '.join(names)}, not {value!r}{hint}")


def later(default: T) -> T:
    """A field that older frozen runs do not have: its default must be what the trainer did before the field came."""
    if isinstance(default, Mapping):
        made: Any = field(default_factory=lambda: dict(default), metadata=_LATER)
    else:
        made = field(default=default, metadata=_LATER)
    return made  # type: ignore[no-any-return]


def late_defaults(kind: Any) -> dict[str, Any]:
    """The fields of a section that may be absent from a frozen run, with what they then are."""
    late = [item for item in fields(kind) if item.metadata == _LATER]
    return {item.name: item.default if item.default_factory is MISSING else item.default_factory() for item in late}
