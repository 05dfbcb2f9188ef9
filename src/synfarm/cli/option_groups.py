"""Groups of options that several commands share: a dataclass says what they are, a decorator makes them a command's."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import fields
from typing import Any, get_type_hints

__all__ = ["OptionGroup", "with_groups"]


class OptionGroup:
    """Base of a dataclass whose fields are options, each with its typer annotation and a default."""


def with_groups(command: Callable[..., None]) -> Callable[..., None]:
    """A command that takes groups, as one that takes their options."""
    signature = inspect.signature(command, eval_str=True)
    groups: dict[str, tuple[type, list[str]]] = {}
    parameters: list[inspect.Parameter] = []
    for parameter in signature.parameters.values():
        kind = parameter.annotation
        if not (isinstance(kind, type) and issubclass(kind, OptionGroup)):
            parameters.append(parameter)
            continue
        hints = get_type_hints(kind, include_extras=True)
        own = fields(kind)  # type: ignore[arg-type]  # every group is a dataclass
        groups[parameter.name] = kind, [field.name for field in own]
        for field in own:
            parameters.append(parameter.replace(name=field.name, default=field.default, annotation=hints[field.name]))

    @functools.wraps(command)
    def gathered(*first: Any, **given: Any) -> None:
        made = {name: kind(**{option: given.pop(option) for option in own}) for name, (kind, own) in groups.items()}
        command(*first, **made, **given)

    gathered.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return gathered
