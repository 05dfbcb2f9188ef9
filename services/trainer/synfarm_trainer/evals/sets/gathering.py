"""Splits of places that each hold one image, put together with one list of classes."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError

from synfarm_trainer.evals.sets.labelled import ALL, LabelledSet, SetInvalid, Split, named_labels

__all__ = ["SUFFIXES", "gathered", "read_image", "split_name"]

Place = TypeVar("Place")

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".ppm", ".tif", ".tiff")
_SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}


def split_name(word: str) -> str | None:
    """``train``, ``val`` or ``test``, if that is what a folder or a file is named after."""
    return _SPLITS.get(word.lower())


def read_image(data: bytes | Path, told: str) -> Image.Image:
    """RGB, whole.

    Raises:
        SetInvalid: it is no image; ``told`` says which.
    """
    try:
        with Image.open(io.BytesIO(data) if isinstance(data, bytes) else data) as image:
            return image.convert("RGB")
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
        raise SetInvalid(
            f"{told} cannot be read as an image ({error}); replace it or take it out of the set"
        ) from error


def gathered(
    root: Path, found: Mapping[str, Sequence[tuple[Place, str]]], read: Callable[[Place], Image.Image]
) -> LabelledSet:
    """Of (place, class name) by split; classes are those of all splits.

    Raises:
        SetInvalid: nothing is there, or what to train on or to test on is missing.
    """
    filled = {split: items for split, items in found.items() if items}
    if not filled:
        raise SetInvalid(f"{root}: no image with a class is there; see the layouts that the documentation lists")
    if ALL not in filled and not ("train" in filled and ({"val", "test"} & filled.keys())):
        there = ", ".join(sorted(filled))
        raise SetInvalid(f"{root}: there is only {there}; it needs train and test (or val), or no split at all")
    classes, _ = named_labels([name for items in filled.values() for _, name in items])
    place = {name: i for i, name in enumerate(classes)}
    return LabelledSet(classes, {split: _split(items, place, read) for split, items in filled.items()})


def _split(items: Sequence[tuple[Place, str]], place: Mapping[str, int], read: Callable[[Place], Image.Image]) -> Split:
    labels = np.array([place[name] for _, name in items], dtype=np.int64)
    return Split(labels, lambda row: read(items[row][0]))
