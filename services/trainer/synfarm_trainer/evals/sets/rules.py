"""How each set of the paper is divided and scored (method section 5.2; release, eval_metrics and main_downstream)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from synfarm_trainer.evals.sets.labelled import ALL, LabelledSet, SetInvalid, Split

__all__ = ["METRICS", "Divided", "Metric", "divide", "drawn_with_replacement", "metric_of"]

Ints = NDArray[np.int64]
Metric = Literal["top1", "mean_per_class", "map11"]

_BY_CLASS = ("aircraft", "caltech101", "flowers", "pets")
METRICS: Mapping[str, Metric] = MappingProxyType({**dict.fromkeys(_BY_CLASS, "mean_per_class"), "voc2007": "map11"})
"""Of the sets whose score is not accuracy."""
_FIFTH = 0.2
_CALTECH_IMAGES = 30


@dataclass(frozen=True, slots=True)
class Divided:
    """What a penalty is fitted on and chosen on, and what is tested once. Never empty."""

    train: Split
    val: Split
    test: Split


def metric_of(name: str, labelled: LabelledSet) -> Metric:
    """Of a set by its name; eleven-point precision where an image may show several things."""
    return "map11" if labelled.several else METRICS.get(name, "top1")


def divide(name: str, labelled: LabelledSet, *, seed: int = 0) -> Divided:
    """By the set's own splits as far as it has them; what is missing is drawn, a random fifth of what there is.

    ``val`` without ``test`` is the test, as of ImageNet, whose test labels are not public. Caltech-101, which comes
    undivided, is drawn as in the release: thirty images of each class *with replacement* to train on, all images that
    were not drawn to test on.

    Raises:
        SetInvalid: there are too few images.
    """
    splits = dict(labelled.splits)
    if ALL in splits:
        whole = splits[ALL]
        if name == "caltech101":
            drawn = drawn_with_replacement(whole.labels, _CALTECH_IMAGES, seed)
            left = np.setdiff1d(np.arange(len(whole)), drawn)
        else:
            drawn, left = _fifth(len(whole), seed, name)
        splits = {"train": whole.take(drawn), "test": whole.take(left)}
    test = splits.get("test", splits.get("val"))
    assert test is not None
    train = splits["train"]
    if "val" in splits and "test" in splits:
        divided = Divided(train, splits["val"], test)
    else:
        kept, held = _fifth(len(train), seed, name)
        divided = Divided(train.take(kept), train.take(held), test)
    if min(len(divided.train), len(divided.val), len(divided.test)) == 0:
        raise SetInvalid(f"{name}: too few images to train, choose and test on; give more")
    return divided


def _fifth(count: int, seed: int, name: str) -> tuple[Ints, Ints]:
    """(kept, held) rows in order, by a generator of the seed; not the rows that the release's torch draws."""
    if count < 2:
        raise SetInvalid(f"{name}: {count} images cannot be divided; give more")
    order = np.random.default_rng(seed).permutation(count)
    held = max(1, round(_FIFTH * count))
    return np.sort(order[held:]), np.sort(order[:held])


def drawn_with_replacement(labels: Ints, images: int, seed: int) -> Ints:
    """Rows, class by class, ``images`` of each: an image may be drawn twice, and then counts twice.

    Of a class of n images about n (1 - (1 - 1 / n) ** images) are drawn at all: 19 of 30, 29 of 800.
    """
    generator = np.random.default_rng(seed)
    rows = [generator.choice(np.flatnonzero(labels == label), images) for label in np.unique(labels)]
    return np.concatenate(rows).astype(np.int64)
