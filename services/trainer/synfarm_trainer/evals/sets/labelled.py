"""What a labelled set is to an evaluation: classes, and images with labels by split."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["ALL", "LabelledSet", "SetInvalid", "Split", "named_labels"]

Ints = NDArray[np.int64]

ALL = "all"
"""Name of the only split of a set that comes undivided."""


_MOST_DIGITS = 100
"""Python refuses to read numbers of thousands."""


class SetInvalid(ValueError):
    """A set cannot be read as it lies there; the message names the place and what to do."""


@dataclass(frozen=True, eq=False, slots=True)
class Split:
    """N images, read one by one; of any size, RGB."""

    labels: Ints
    """(n,) places in the set's classes; or (n, classes) of 1, 0 and -1 where an image shows several things."""
    image: Callable[[int], Image.Image]
    """The image of a row; from any thread. Raises SetInvalid."""

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: Ints) -> Split:
        """Some rows, in the order in which they are named, a row as often as it is named."""
        return Split(self.labels[rows], lambda row: self.image(int(rows[row])))


@dataclass(frozen=True, eq=False, slots=True)
class LabelledSet:
    """The splits are ``train`` and ``test``, with ``val`` where the set has one; or ``all`` alone."""

    classes: tuple[str, ...]
    splits: Mapping[str, Split]

    @property
    def several(self) -> bool:
        """Whether an image may show several of the classes."""
        return next(iter(self.splits.values())).labels.ndim == 2


def named_labels(names: Sequence[str]) -> tuple[tuple[str, ...], Ints]:
    """Classes in order, numbers by their value, and the place of each name among them."""
    known = set(names)
    numbers = all(name.isdecimal() and len(name) < _MOST_DIGITS for name in known)
    classes = sorted(known, key=int) if numbers else sorted(known)
    place = {name: i for i, name in enumerate(classes)}
    return tuple(classes), np.array([place[name] for name in names], dtype=np.int64)
