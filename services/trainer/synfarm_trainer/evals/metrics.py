"""Scores of the sets of the paper (method section 5.2; release, eval_metrics): top-1, mean per class, 11-point mAP."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["eleven_point_map", "eleven_points", "mean_per_class", "top1"]

Ints = NDArray[np.int64]
_LEVELS = 11


def top1(predicted: Ints, labels: Ints) -> float:
    """Share of images whose class is named."""
    return float((predicted == labels).mean())


def mean_per_class(predicted: Ints, labels: Ints) -> float:
    """Mean over classes of the share of each one's images; a class without images has none and does not count."""
    return float(np.mean([(predicted[labels == label] == label).mean() for label in np.unique(labels)]))


def eleven_points(scores: NDArray[np.float64], shown: NDArray[np.bool_]) -> float:
    """Average precision of one class as VOC 2007 has it: of the recalls 0, 0.1 to 1, the mean of the best precision
    that is had at that recall or a higher one. Not the area below the curve.

    Images of equal scores stay in their order.

    Raises:
        ValueError: the class is shown nowhere.
    """
    if not shown.any():
        raise ValueError("a class that no image shows has no average precision")
    hits = np.cumsum(shown[np.argsort(-scores, kind="stable")])
    precision = hits / np.arange(1, len(hits) + 1)
    # In whole images, not in rounded shares: recall 0.3 of ten images is exactly three.
    needed = [-(-level * int(hits[-1]) // (_LEVELS - 1)) for level in range(_LEVELS)]
    return float(np.mean([precision[hits >= count].max() for count in needed]))


def eleven_point_map(scores: NDArray[np.float64], labels: Ints) -> float:
    """Mean over classes; (n, classes) scores, labels of 1, 0 and -1. Only 1 is shown: a difficult 0 is a negative.

    A class that no image shows does not count.
    """
    shown = labels == 1
    return float(np.mean([eleven_points(scores[:, i], shown[:, i]) for i in np.flatnonzero(shown.any(axis=0))]))
