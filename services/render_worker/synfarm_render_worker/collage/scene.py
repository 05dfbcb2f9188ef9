"""What a caption asks for, in the words that the collage renderer understands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Relation", "SceneRecord", "Size", "Thing"]

Size = Literal["tiny", "small", "large", "huge"]
Relation = Literal[
    "in",
    "on",
    "under",
    "above",
    "beside",
    "left of",
    "right of",
    "behind",
    "in front of",
    "between",
    "among",
    "around",
    "far from",
    "wearing",
    "holding",
]


@dataclass(frozen=True, slots=True)
class Thing:
    """One kind of object in the scene; None where the caption leaves the choice to the image's seed."""

    concept: str
    colour: str | None = None
    size: Size | None = None
    count: int | None = None
    """1 to 5."""


@dataclass(frozen=True, slots=True)
class SceneRecord:
    """A pure function of the caption; every image of the caption shares it."""

    subject: Thing
    """The concept named first; of 'a basket of apples' the apples, in the basket."""
    second: Thing | None = None
    """Another concept, where the caption names one."""
    relation: Relation | None = None
    """Of the subject to the second thing."""
    background: str | None = None
    third: Thing | None = None
    """Of ``between`` alone: 'a dog between a car and a tree'."""
