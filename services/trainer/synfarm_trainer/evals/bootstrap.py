"""How far an accuracy would move if other captions had been held out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["standard_error"]


def standard_error(right: NDArray[np.bool_], captions: NDArray[np.int64], *, resamples: int, seed: int) -> float:
    """Deviation of the mean of ``right`` over resampled captions: images of a caption are not independent.

    Args:
        right: (T,) whether each test image was named rightly.
        captions: (T,) which caption each is of.
    """
    _, place = np.unique(captions, return_inverse=True)
    hits, sizes = np.bincount(place, weights=right.astype(np.float64)), np.bincount(place)
    draws = np.random.default_rng(seed).integers(0, len(hits), size=(resamples, len(hits)))
    spread = hits[draws].sum(axis=1) / sizes[draws].sum(axis=1)
    return float(spread.std(ddof=1))
