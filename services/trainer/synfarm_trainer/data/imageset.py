"""Whole images of some captions, resized without augmentation: what evaluations look at."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from synfarm.contracts.purposes import Purpose
from synfarm.contracts.randomness import bits, key_of
from synfarm_trainer.data.course import Course
from synfarm_trainer.data.decode import decode_group
from synfarm_trainer.data.fetch import ShardCache
from synfarm_trainer.data.manifest import Dataset
from synfarm_trainer.data.plan import Plan
from synfarm_trainer.refusal import RunRefused

__all__ = ["ImageSet", "choose_rows", "distinct_rows", "read_images"]


@dataclass(frozen=True, eq=False)
class ImageSet:
    """N images: (N, size, size, 3) bytes, (N,) concept codes, (N,) rows of their captions."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    captions: NDArray[np.int64]


_CHUNK = 1 << 16
"""Rows hashed at a time."""
_ROWS_A_CONCEPT = 64
_READS = 16
"""Captions read at a time: of a store that is far away each takes as long as many together."""


def _lowest(plan: Plan | Course, held_out: bool, limit: int) -> NDArray[np.int64]:
    """At most ``limit`` held-out or training rows, those with the lowest keyed hash, in its order."""
    rows, draws = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    key = key_of(plan.seed, Purpose.HELD_OUT)
    for start in range(0, len(plan.table), _CHUNK):
        stop = min(start + _CHUNK, len(plan.table))
        held = plan.held_set.unpack(start, stop)
        fresh = np.flatnonzero(held if held_out else ~held)
        draw = bits(key, *plan.table.ids(start, stop), 1)[fresh]
        if len(rows) == limit > 0:
            lower = draw < draws[-1]
            fresh, draw = fresh[lower], draw[lower]
        rows, draws = np.concatenate([rows, fresh + start]), np.concatenate([draws, draw])
        order = np.argsort(draws, kind="stable")[:limit]
        rows, draws = rows[order], draws[order]
    return rows


def choose_rows(plan: Plan | Course, *, held_out: bool, limit: int) -> list[int]:
    """At most ``limit`` held-out or training rows: those with the lowest keyed hash, in manifest order."""
    return sorted(_lowest(plan, held_out, limit).tolist())


def distinct_rows(plan: Plan | Course, *, limit: int) -> list[int]:
    """At most ``limit`` held-out rows by keyed hash, of as many concepts as there are."""
    # Of a large data set the first of so many rows have all the concepts that can be shown.
    rows = _lowest(plan, True, max(limit * _ROWS_A_CONCEPT, _CHUNK))
    _, first = np.unique(plan.table.concept[rows], return_index=True)
    again = np.ones(len(rows), dtype=np.int64)
    again[first] = 0
    chosen: list[int] = rows[np.argsort(again, kind="stable")[:limit]].tolist()
    return chosen


def _resized(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC))


def read_images(dataset: Dataset, cache: ShardCache, rows: Sequence[int], size: int) -> ImageSet:
    """Every image of the captions ``rows``.

    Raises:
        RunRefused: no rows.
        DatasetDamaged: a caption has no whole image.
    """
    if not rows:
        raise RunRefused("data.held_out: no caption is held out (every concept has a single one), nothing to evaluate")

    def read(row: int) -> list[NDArray[np.uint8]]:
        shard, found = cache.read(dataset.shards[dataset.shard_of[row]], dataset.rows[row], scattered=True)
        group = decode_group(shard, found, range(dataset.images_of(row)))
        return [_resized(image, size) for image in group.images]

    pixels: list[NDArray[np.uint8]] = []
    captions: list[int] = []
    with ThreadPoolExecutor(_READS, "images") as pool:
        for row, images in zip(rows, pool.map(read, rows), strict=True):
            pixels += images
            captions += [row] * len(images)
    places = np.array(captions, dtype=np.int64)
    return ImageSet(np.stack(pixels), dataset.table.concept[places].astype(np.int64), places)
