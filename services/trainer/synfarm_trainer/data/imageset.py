"""Whole images of some captions, resized without augmentation: what evaluations look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from synfarm.contracts.purposes import Purpose
from synfarm.contracts.randomness import bits, key_of
from synfarm_trainer.data.decode import decode_group
from synfarm_trainer.data.fetch import ShardCache
from synfarm_trainer.data.manifest import Dataset
from synfarm_trainer.data.plan import Plan

__all__ = ["ImageSet", "choose_rows", "distinct_rows", "read_images"]


@dataclass(frozen=True, eq=False)
class ImageSet:
    """N images: (N, size, size, 3) bytes, (N,) concept codes, (N,) rows of their captions."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    captions: NDArray[np.int64]


def _by_hash(plan: Plan, held_out: bool) -> NDArray[np.int64]:
    rows = np.flatnonzero(plan.held if held_out else ~plan.held)
    draw = bits(key_of(plan.seed, Purpose.HELD_OUT), plan.table.job[rows], plan.table.index[rows], 1)
    return rows[np.argsort(draw, kind="stable")]


def choose_rows(plan: Plan, *, held_out: bool, limit: int) -> list[int]:
    """At most ``limit`` held-out or training rows: those with the lowest keyed hash, in manifest order."""
    return sorted(_by_hash(plan, held_out)[:limit].tolist())


def distinct_rows(plan: Plan, *, limit: int) -> list[int]:
    """At most ``limit`` held-out rows by keyed hash, of as many concepts as there are."""
    rows = _by_hash(plan, held_out=True)
    _, first = np.unique(plan.table.concept[rows], return_index=True)
    again = np.ones(len(rows), dtype=np.int64)
    again[first] = 0
    chosen: list[int] = rows[np.argsort(again, kind="stable")[:limit]].tolist()
    return chosen


def read_images(dataset: Dataset, cache: ShardCache, rows: Sequence[int], size: int) -> ImageSet:
    """Every image of the captions ``rows``.

    Raises:
        ValueError: no rows.
        DatasetDamaged: a caption has no whole image.
    """
    if not rows:
        raise ValueError("data.held_out: no caption is held out (every concept has a single one), nothing to evaluate")
    pixels: list[NDArray[np.uint8]] = []
    captions: list[int] = []
    for row in rows:
        shard = cache.get(dataset.shards[dataset.shard_of[row]])
        group = decode_group(shard, dataset.rows[row], range(dataset.images_of(row)))
        pixels += [np.asarray(image.resize((size, size), Image.Resampling.BICUBIC)) for image in group.images]
        captions += [row] * len(group.images)
    places = np.array(captions, dtype=np.int64)
    return ImageSet(np.stack(pixels), dataset.table.concept[places], places)
