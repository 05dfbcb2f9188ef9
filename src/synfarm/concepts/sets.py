"""The concept sets that ship, by name: what is in them, what is known of them, which of them pre-training may see."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from synfarm.concepts.vocabulary import drawable_concepts
from synfarm.contracts.concepts import Concept, ConceptKind

__all__ = ["SetInfo", "UnknownConceptSet", "about", "held_out_names", "hypernyms", "load", "set_names", "set_rows"]

_DEMO = 48
"""``demo`` is the beginning of ``collage``: everyday things whose two drawings look alike."""


class UnknownConceptSet(KeyError):
    """There is no concept set of that name; the message lists those there are."""

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True, slots=True)
class SetInfo:
    """What is known of a set without reading it."""

    name: str
    title: str
    concepts: int
    kinds: tuple[ConceptKind, ...]
    source: str
    """Where the names come from: packages with their versions."""
    note: str
    """What was left out, merged or added; may be empty."""
    pretraining: bool
    """False: it evaluates concepts that pre-training has not seen (paper, table 9), and no job draws from it."""


def set_names() -> list[str]:
    """Names of the sets that jobs may draw from, sorted."""
    return sorted(name for name, info in _index().items() if info.pretraining)


def held_out_names() -> list[str]:
    """Names of the sets that are known and stay out of pre-training, sorted."""
    return sorted(name for name, info in _index().items() if not info.pretraining)


def about(name: str) -> SetInfo:
    """What is known of a set, held out or not.

    Raises:
        UnknownConceptSet: there is no such set.
    """
    info = _index().get(name)
    if info is None:
        raise UnknownConceptSet(f"no concept set {name!r}; there are: {', '.join(set_names())}")
    return info


def load(name: str = "collage") -> tuple[Concept, ...]:
    """The concepts of a set, in their fixed order; ``collage`` is all that the collage renderer can draw.

    Read once a process: a tenth of a second for the largest, almost nothing for the others. Sets that are held out are
    read as well, to compare with; :func:`about` tells which they are.

    Raises:
        UnknownConceptSet: there is no such set.
    """
    return _load(about(name))


@cache
def _load(info: SetInfo) -> tuple[Concept, ...]:
    if info.name in {"collage", "demo"}:
        return drawable_concepts()[: info.concepts]
    rows = set_rows(info.name)["concepts"]
    return tuple(Concept(name=name, synonyms=synonyms, kind=info.kinds[0]) for name, synonyms, _ in rows)


def hypernyms(name: str) -> tuple[tuple[str, ...], ...] | None:
    """For each concept of ``in1k`` what it is a kind of, by WordNet, from the nearest on; None for other sets."""
    if name != "in1k":
        about(name)
        return None
    return tuple(tuple(chain) for chain in _data("in1k.hypernyms.json"))


def set_rows(name: str) -> dict[str, Any]:
    """The file of a set in ``data``: its ``concepts`` as [name, synonyms, index in its ``settings`` or -1]."""
    rows: dict[str, Any] = _data(f"{name}.json")
    return rows


@cache
def _index() -> Mapping[str, SetInfo]:
    drawable, ours = len(drawable_concepts()), "written for synfarm"
    objects = (ConceptKind.OBJECT,)
    found = {
        "collage": SetInfo("collage", "What the collage renderer draws", drawable, objects, ours, "", True),
        "demo": SetInfo("demo", "Everyday things, the beginning of collage", _DEMO, objects, ours, "", True),
    }
    for name, row in _data("index.json").items():
        kinds = (ConceptKind(row.pop("kind")),)
        found[name] = SetInfo(name=name, kinds=kinds, **row)
    return MappingProxyType(found)


def _data(file: str) -> Any:
    return json.loads(files(__package__).joinpath("data", file).read_text(encoding="utf-8"))
