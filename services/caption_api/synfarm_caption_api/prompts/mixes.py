"""The mixes that ship: which concept sets make captions, in which shares and by which prompts (method 1.4 to 1.7)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from synfarm.contracts.origins import Template

__all__ = ["IN1K", "OBJECT_TEMPLATES", "PAPER", "PLACES", "RELEASE", "Slice"]

IN1K = "in1k"
PLACES = ("places365", "sun397")

OBJECT_TEMPLATES: Mapping[Template, float] = {
    Template.CONCEPT: 0.44,
    Template.RELATION: 0.11,
    Template.BACKGROUND: 0.45,
}
"""For objects, as the released script draws them; the paper gives no shares. Places and textures use ``c`` alone."""


@dataclass(frozen=True, slots=True)
class Slice:
    """A share of the captions, drawn uniformly from the union of some sets."""

    weight: float
    sets: tuple[str, ...]
    templates: Mapping[Template, float] = field(default_factory=lambda: OBJECT_TEMPLATES)
    suffix: str = ""
    """Appended to every name, which stays as a synonym."""
    drop_doors: bool = False
    """Drop a last word 'indoor' or 'outdoor'; what becomes equal is one concept."""


_OTHERS = ("in21k", "caltech101", "pets")

PAPER: tuple[Slice, ...] = (
    Slice(0.47, (IN1K,)),
    Slice(0.05, ("aircraft",)),
    Slice(0.05, ("cars",)),
    Slice(0.05, ("food101",)),
    Slice(0.03, ("flowers",)),
    Slice(0.09, PLACES),
    Slice(0.26, (*_OTHERS, "dtd")),
)
"""Paper, table 11: rough shares, said to be untuned. Textures count among the others."""


def _release() -> tuple[Slice, ...]:
    """The released script's hierarchical draw: object, place or texture; then the source of the object."""
    obj, place, texture = 0.910, 0.998 - 0.910, 1 - 0.998
    ends = {"food101": 0.05, "cars": 0.11, "aircraft": 0.17, "flowers": 0.20, IN1K: 0.704, "others": 1.0}
    suffixes = {"cars": " car", "aircraft": " aircraft"}
    slices, begin = [], 0.0
    for name, end in ends.items():
        sets = _OTHERS if name == "others" else (name,)
        slices.append(Slice(obj * (end - begin), sets, suffix=suffixes.get(name, "")))
        begin = end
    return (*slices, Slice(place, PLACES, drop_doors=True), Slice(texture, ("dtd",)))


RELEASE: tuple[Slice, ...] = _release()
