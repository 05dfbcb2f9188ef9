"""Splits of places that each hold one image, put together with one list of classes."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from synfarm_trainer.evals.sets.labelled import ALL, LabelledSet, SetInvalid, Split, named_labels

__all__ = ["MOST_OF_IMAGE", "SUFFIXES", "gathered", "plain_bytes", "read_image", "split_name"]

Place = TypeVar("Place")

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".ppm", ".tif", ".tiff")
MOST_OF_IMAGE = 256 * 1024 * 1024
"""Bytes of an image's file."""
_MOST_PIXELS = 80_000_000
"""Of an image: a header that lies costs no memory."""
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "PPM", "TIFF")
"""Whatever a file is called; Pillow would give what it takes for PostScript to Ghostscript."""
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError, Warning)
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


def plain_bytes(path: Path, most: int) -> bytes:
    """All of a file.

    Raises:
        OSError: it cannot be read, is no plain file, which would be waited for, or has more than ``most`` bytes.
    """
    if not path.is_file():
        raise OSError(f"{path.name} is missing, or no plain file")
    with path.open("rb") as file:
        data = file.read(min(most, path.stat().st_size) + 1)
    if len(data) > most:
        raise OSError(f"{path.name} has more than {most} bytes")
    return data


def read_image(data: bytes | Path, told: str) -> Image.Image:
    """RGB, whole.

    Raises:
        SetInvalid: it is no image, or too large; ``told`` says which.
    """
    try:
        if isinstance(data, Path) and not (data.is_file() and data.stat().st_size <= MOST_OF_IMAGE):
            raise ValueError("it is missing, no plain file, or too large")  # a pipe would be waited for
        with Image.open(io.BytesIO(data) if isinstance(data, bytes) else data, formats=_FORMATS) as image:
            if image.width * image.height > _MOST_PIXELS:
                raise ValueError(f"{image.width} x {image.height} pixels are too many")
            return image.convert("RGB")
    except _BROKEN as error:
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
