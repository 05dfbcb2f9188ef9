"""What ranks have each found of their share of the images, put together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from synfarm_trainer.ranks import Ranks

__all__ = ["Pool", "share"]

Rows = TypeVar("Rows", bound=NDArray[Any])
T = TypeVar("T")


def share(rows: Sequence[T], ranks: Ranks) -> list[T]:
    """Those of ``rows`` that this rank looks at: neighbours go to different ranks, so that shares cost about the same.

    There must be as many rows as ranks: an empty share has no shape.
    """
    return list(rows[ranks.rank :: ranks.world])


class Pool:
    """Puts rows of all ranks together, in the same order at any number of ranks."""

    def __init__(self, ranks: Ranks, captions: NDArray[np.int64]) -> None:
        """
        Args:
            captions: (n,) of this rank's rows, rising; no caption is on two ranks.
        """
        self._ranks = ranks
        self._order: NDArray[np.int64] = np.argsort(self._gathered(captions), kind="stable")

    def __call__(self, mine: Rows) -> Rows:
        """(n, ...) of each rank, in the order of captions. Every rank must call."""
        found: Any = self._gathered(mine)[self._order]
        return found  # type: ignore[no-any-return]

    def _gathered(self, mine: NDArray[Any]) -> NDArray[Any]:
        if self._ranks.world == 1:
            return mine
        sizes = self._ranks.gather(torch.tensor([len(mine)])).tolist()
        padded = np.zeros((max(sizes), *mine.shape[1:]), dtype=mine.dtype)
        padded[: len(mine)] = mine
        found = self._ranks.gather(torch.from_numpy(padded)).numpy()
        parts = found.reshape(self._ranks.world, *padded.shape)
        return np.concatenate([part[:size] for part, size in zip(parts, sizes, strict=True)])
