"""Settings in which the concepts of a set are plausible, where the paper asks GPT-4 for a list for every class.

A random place makes odd pairs, and the ablation shows the cost (paper, table 2: IN+Places+LLM against IN+OurBG+LLM).
Fine-grained sets have one list each, as in the paper; the classes of ImageNet share lists by what they are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from synfarm.concepts.sets import about, set_rows

__all__ = ["Backgrounds", "setting_lists", "shipped"]


@dataclass(frozen=True, slots=True)
class Backgrounds:
    """Lists of settings, and for each concept of a set, in its order, the index of its list; -1 if it has none."""

    groups: tuple[tuple[str, ...], ...]
    names: tuple[str, ...]
    """Of the lists: ``pets``, ``sea fish`` …"""
    of: tuple[int, ...]


def shipped(name: str) -> Backgrounds:
    """The settings that ship for a set; without any list for places, textures and what the collage renderer draws.

    Raises:
        UnknownConceptSet: there is no such set.
    """
    if name in {"collage", "demo"}:
        return Backgrounds((), (), (-1,) * about(name).concepts)
    about(name)
    data = set_rows(name)
    names: list[str] = data["settings"]
    lists = setting_lists()
    return Backgrounds(tuple(lists[one] for one in names), tuple(names), tuple(row[2] for row in data["concepts"]))


@cache
def setting_lists() -> Mapping[str, tuple[str, ...]]:
    """Every list of settings by its name. The order in a list is part of every draw: append, never reorder."""
    data = json.loads(files(__package__).joinpath("data", "settings.json").read_text(encoding="utf-8"))
    return MappingProxyType({name: tuple(settings) for name, settings in data.items()})
