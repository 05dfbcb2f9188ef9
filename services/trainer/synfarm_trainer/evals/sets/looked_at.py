"""Some images of a labelled set in memory, cut to the square that a network takes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from synfarm_trainer.evals.sets.labelled import Split

__all__ = ["Looked", "centre_square", "chosen_rows", "cut", "squares"]

Pixels = NDArray[np.uint8]
Ints = NDArray[np.int64]
_AHEAD = 64


@dataclass(frozen=True, eq=False, slots=True)
class Looked:
    """N images: (N, side, side, 3) bytes, (N,) labels, and a number for each, for they are of no common caption."""

    pixels: Pixels
    labels: Ints
    captions: Ints


def centre_square(image: Image.Image, side: int, short: int | None = None) -> Pixels:
    """The shorter side brought to ``short`` pixels (by default ``side``) by bicubic, then the middle."""
    short = short or side
    width, height = image.size
    scale = short / min(width, height)
    size = (max(short, round(width * scale)), max(short, round(height * scale)))
    resized = image.resize(size, Image.Resampling.BICUBIC)
    left, top = (size[0] - side) // 2, (size[1] - side) // 2
    return np.asarray(resized.crop((left, top, left + side, top + side)))


def chosen_rows(split: Split, limit: int, *, seed: int = 0) -> Ints:
    """At most ``limit`` rows, drawn by the seed, in order."""
    if len(split) <= limit:
        return np.arange(len(split))
    return np.sort(np.random.default_rng(seed).permutation(len(split))[:limit])


def squares(split: Split, side: int, short: int | None = None) -> Iterator[Pixels]:
    """Each image of the split in order, decoded by threads a little ahead of whoever takes them."""
    with ThreadPoolExecutor(min(32, os.cpu_count() or 1)) as pool:
        for start in range(0, len(split), _AHEAD):
            rows = range(start, min(start + _AHEAD, len(split)))
            yield from pool.map(lambda row: centre_square(split.image(row), side, short), rows)


def cut(split: Split, side: int, numbers: Ints) -> Looked:
    """All of a split, with a number for each.

    Raises:
        SetInvalid: one cannot be read.
    """
    return Looked(np.stack(list(squares(split, side))), split.labels, numbers)
