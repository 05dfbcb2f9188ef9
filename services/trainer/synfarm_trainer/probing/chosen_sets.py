"""The sets that a command names, as ``NAME=PLACE``: cut to a number of images, and divided by their rules."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from synfarm_trainer.evals.sets.labelled import ALL, LabelledSet, SetInvalid
from synfarm_trainer.evals.sets.looked_at import chosen_rows
from synfarm_trainer.evals.sets.opening import open_set
from synfarm_trainer.evals.sets.rules import Divided, Metric, divide, metric_of

__all__ = ["ChosenSet", "Limits", "choose", "named_place", "short_side"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Most images of a set; None for all of them."""

    train: int | None = None
    test: int | None = None


@dataclass(frozen=True, slots=True)
class ChosenSet:
    name: str
    classes: tuple[str, ...]
    several: bool
    metric: Metric
    divided: Divided


def named_place(text: str) -> tuple[str, Path]:
    """
    Raises:
        SetInvalid: it is not ``NAME=PLACE``.
    """
    name, equals, place = text.partition("=")
    if not (name and equals and place):
        raise SetInvalid(f"--set {text!r}: write NAME=FOLDER, for example food101=/data/food-101")
    return name, Path(place)


def choose(text: str, limits: Limits) -> ChosenSet:
    """
    Raises:
        SetInvalid: it cannot be read, or has too few images.
    """
    name, place = named_place(text)
    whole = open_set(place)
    splits = {}
    for split, images in whole.splits.items():
        limit = limits.train if split == "train" else None if split == ALL else limits.test
        splits[split] = images if limit is None else images.take(chosen_rows(images, limit))
    cut = LabelledSet(whole.classes, splits)
    return ChosenSet(name, cut.classes, cut.several, metric_of(name, cut), divide(name, cut))


def short_side(name: str, side: int) -> int:
    """Pixels of the shorter side before the middle is cut: as is for all but ImageNet (method sections 5.1, 5.2)."""
    return round(side * 256 / 224) if name == "imagenet" else side
