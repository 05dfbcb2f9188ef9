"""The presets by name."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from types import MappingProxyType

from synfarm_trainer.config import TrainConfig
from synfarm_trainer.overrides import apply_overrides
from synfarm_trainer.presets import small_machines, synclr, tables
from synfarm_trainer.presets.preset import Preset

__all__ = ["built", "preset_names", "preset_of"]

_PRESETS: Mapping[str, Preset] = MappingProxyType({**small_machines.PRESETS, **synclr.PRESETS, **tables.PRESETS})


def preset_names() -> tuple[str, ...]:
    return tuple(_PRESETS)


def preset_of(name: str) -> Preset:
    """
    Raises:
        ValueError: there is none, with near names.
    """
    if name not in _PRESETS:
        near = get_close_matches(name, _PRESETS, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(_PRESETS)}"
        raise ValueError(f"preset: no preset {name!r}; {hint}")
    return _PRESETS[name]


@cache
def built(name: str) -> TrainConfig:
    """The preset's settings on top of the defaults.

    Raises:
        ValueError: there is no such preset.
    """
    return apply_overrides(TrainConfig(), preset_of(name).values)
