"""Who a crop is: the ids that every draw about it is a function of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synfarm.contracts.randomness import bits

__all__ = ["CropIds", "Epoch", "global_crops"]

Ints = NDArray[np.int64]
Epoch = int | Ints
"""Of all crops, or of each: (N,)."""

_MORE_GLOBAL = 1 << 16


def global_crops(count: int) -> list[int]:
    """Numbers of an image's global crops; the first is 0 however many there are."""
    return [0, *range(_MORE_GLOBAL + 1, _MORE_GLOBAL + count)]


@dataclass(frozen=True, eq=False)
class CropIds:
    """Who N crops are, arrays of shape (N,): job, caption index, image number, crop number.

    Number 0 is the first global crop, 1 and on are the local ones, further global ones have numbers of their own.
    ``turn`` is no part of who a crop is: its place among the crops of its caption in the batch, by which variants take
    turns.
    """

    job: Ints
    index: Ints
    k: Ints
    crop: Ints
    turn: Ints

    @classmethod
    def of(cls, job: Ints, index: Ints, k: Ints, crops: Sequence[int], *, view: Ints | None = None) -> CropIds:
        """Every image with each of ``crops``; crops of an image adjacent.

        Args:
            view: place of each image among those of its caption in the batch; its number if the batch takes them all.
        """
        times, images = len(crops), len(job)
        turn = (k if view is None else view).repeat(times) * times + np.tile(np.arange(times), images)
        return cls(job.repeat(times), index.repeat(times), k.repeat(times), np.tile(np.array(crops), images), turn)

    def __len__(self) -> int:
        return len(self.job)

    def word(self, key: int, epoch: Epoch, *more: int | Ints) -> Ints:
        """Random bits of each crop: (N,), or (N, ...) when ``more`` brings axes of its own."""
        axes = max((np.ndim(item) for item in more), default=0)
        shape = (-1,) + (1,) * axes
        ids = (x.reshape(shape) for x in (self.job, self.index, self.k, self.crop))
        drawn: Ints = bits(key, epoch if isinstance(epoch, int) else epoch.reshape(shape), *ids, *more)
        return drawn
