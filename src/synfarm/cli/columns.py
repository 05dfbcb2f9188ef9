"""Columns of a comparison from the command line: presets under a name, and single settings of one of them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_args

from synfarm.cli.drawing import Preset, model_of
from synfarm.cli.exits import CommandFailed, ExitCode

if TYPE_CHECKING:
    from pydantic import ValidationError

    from synfarm.contracts.comparisons import PlannedColumn

__all__ = ["planned_columns"]

_FIELDS = ("steps", "guidance", "guidance_until", "sampler", "render_size", "model", "revision", "lora")
_FORM = "write PRESET.FIELD=VALUE, for example fast.steps=20"


def planned_columns(
    presets: Sequence[str], overrides: Sequence[str], settings: Mapping[str, Any]
) -> tuple[PlannedColumn, ...]:
    """One for each preset, in order.

    Args:
        presets: ``fast``, or ``NAME=PRESET``.
        overrides: ``NAME.FIELD=VALUE``.
        settings: of all of them; None stands for the default.

    Raises:
        CommandFailed: a name is unknown, stands there twice, or a value is none of its field.
    """
    from pydantic import ValidationError

    from synfarm.contracts.comparisons import PlannedColumn

    chosen = _presets(presets)
    own: dict[str, dict[str, Any]] = {name: {} for name in chosen}
    for text in overrides:
        name, field, value = _override(text, chosen)
        own[name][field] = model_of(value) if field == "lora" else value
    columns = []
    for name, preset in chosen.items():
        render = {k: v for k, v in settings.items() if v is not None}
        if "model" in own[name]:
            render.pop("revision", None)  # of another model
        render |= {"renderer": "diffusers", "family": "compare", "preset": preset, **own[name]}
        try:
            columns.append(PlannedColumn.model_validate({"name": name, "render": render}))
        except ValidationError as error:
            raise _refused(_fault(error, name, own[name])) from error
    return tuple(columns)


def _presets(given: Sequence[str]) -> dict[str, str]:
    """Preset by the column's name."""
    known = get_args(Preset)
    chosen: dict[str, str] = {}
    for text in given:
        name, named, preset = text.partition("=")
        preset = preset if named else name
        if preset not in known:
            raise _refused(f"--preset {preset!r}: there is no such preset{_near(preset, known)}")
        if name in chosen:
            raise _refused(f"--preset {name!r} stands there twice; give the other a name: other={preset}.")
        chosen[name] = preset
    if len(chosen) < 2:
        raise _refused("--preset: name two at least, for example --preset paper --preset fast.")
    return chosen


def _override(text: str, columns: Iterable[str]) -> tuple[str, str, str]:
    place, equals, value = text.partition("=")
    name, dot, field = place.partition(".")
    if not equals or not dot or not value:
        raise _refused(f"--set {text!r}: {_FORM}.")
    if name not in columns:
        raise _refused(f"--set {text!r}: {name!r} is not among the presets{_near(name, columns)}")
    if field not in _FIELDS:
        raise _refused(f"--set {text!r}: {field!r} cannot be set{_near(field, _FIELDS)}")
    return name, field, value


def _fault(error: ValidationError, column: str, own: Iterable[str]) -> str:
    """The first fault, with the option that it came from."""
    from synfarm.contracts.wording import in_words

    place = [str(part) for part in error.errors()[0]["loc"]]
    if place == ["name"]:
        return f"--preset {column!r}: its name {in_words(error)}."
    field = place[1] if len(place) > 1 else ""
    option = f"--set {column}.{field}" if field in own else f"--{field.replace('_', '-')}"
    return f"{option}: {in_words(error)}."


def _near(word: str, known: Iterable[str]) -> str:
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f". Did you mean {found[0]}?" if found else f"; there are {', '.join(known)}."


def _refused(what: str) -> CommandFailed:
    return CommandFailed(what, ExitCode.REFUSED)
