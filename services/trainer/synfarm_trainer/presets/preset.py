"""What a preset is: settings on top of the defaults, each with where its value comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["ORIGINS", "Preset", "Setting", "by"]

ORIGINS = ("paper", "release", "literature", "inferred", "ours", "request")
"""How every source begins. ``paper`` and ``release`` are SynCLR's (or StableRep's, which is then named), ``literature``
another method's paper or code; ``inferred`` is what these leave open and we conclude from them; ``ours`` is our choice;
``request`` is what a user overrides."""


@dataclass(frozen=True, slots=True)
class Setting:
    value: object
    source: str
    """``<origin>: <where>``, for example ``paper: table 12``."""


@dataclass(frozen=True, slots=True)
class Preset:
    """A named configuration."""

    about: str
    """What it is for, in a line."""
    settings: Mapping[str, Setting]
    """By dotted name. ``objective.name`` and ``augment.name`` set whole families, as in a request's overrides."""

    @property
    def values(self) -> dict[str, object]:
        return {name: setting.value for name, setting in self.settings.items()}


def by(source: str, values: Mapping[str, object]) -> dict[str, Setting]:
    """Settings of one source."""
    return {name: Setting(value, source) for name, value in values.items()}
