"""Changed fields of a run's configuration, from the command line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from synfarm.cli.exits import CommandFailed, ExitCode

if TYPE_CHECKING:
    from pydantic import JsonValue

__all__ = ["read_overrides"]


def read_overrides(settings: Sequence[str]) -> dict[str, JsonValue]:
    """``optim.lr=0.001`` and the like; a value is read as JSON where it is JSON, else as a word."""
    found: dict[str, JsonValue] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or not name.strip():
            raise CommandFailed(f"--set {setting}: write NAME=VALUE, for example optim.lr=0.001.", ExitCode.REFUSED)
        try:
            found[name.strip()] = json.loads(value)
        except ValueError:
            found[name.strip()] = value
    return found
