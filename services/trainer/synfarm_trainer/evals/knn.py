"""Nearest-neighbour classification of features, with its standard error by bootstrap over captions."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from synfarm_trainer.evals.bootstrap import standard_error

__all__ = ["KnnResult", "classify", "colour_histogram", "evaluate", "raw_pixels"]

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Pixels = NDArray[np.uint8]

_FLOOR_SIDE = 64


@dataclass(frozen=True, slots=True)
class KnnResult:
    top1: float
    """Share of test images whose concept is named, in 0 to 1."""
    standard_error: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def _standardise(bank: Floats, test: Floats) -> tuple[Floats, Floats]:
    """By the bank's mean and deviation (constant features become 0), then to unit length."""
    mean, std = bank.mean(axis=0), bank.std(axis=0)
    scale = np.where(std > 1e-6, 1 / np.maximum(std, 1e-6), 0.0)

    def unit(x: Floats) -> Floats:
        x = ((x - mean) * scale).astype(np.float32)
        length = np.linalg.norm(x, axis=1, keepdims=True)
        return np.asarray(x / np.maximum(length, 1e-12), dtype=np.float32)

    return unit(bank), unit(test)


def classify(bank: Floats, bank_labels: Ints, test: Floats, *, k: int, classes: int) -> Ints:
    """(T,) predicted labels: the k nearest by cosine vote with their similarity; ties go to the lower label."""
    bank, test = _standardise(bank, test)
    similarity = test @ bank.T
    k = min(k, bank.shape[0])
    nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
    weights = np.exp(np.take_along_axis(similarity, nearest, axis=1) / 0.1)
    votes = np.zeros((len(test), classes))
    rows = np.repeat(np.arange(len(test)), k)
    np.add.at(votes, (rows, bank_labels[nearest].reshape(-1)), weights.reshape(-1))
    return np.asarray(votes.argmax(axis=1), dtype=np.int64)


def evaluate(
    bank: Floats,
    bank_labels: Ints,
    test: Floats,
    test_labels: Ints,
    test_captions: Ints,
    *,
    k: int,
    classes: int,
    resamples: int,
    seed: int,
) -> KnnResult:
    """Accuracy on test images, and its deviation over resampled captions.

    Args:
        test_captions: (T,) which caption each test image is of.
    """
    right = classify(bank, bank_labels, test, k=k, classes=classes) == test_labels
    return KnnResult(float(right.mean()), standard_error(right, test_captions, resamples=resamples, seed=seed))


def raw_pixels(pixels: Pixels) -> Floats:
    """(n, H, W, 3) bytes to (n, h * w * 3): the floor that uses no colour statistics and no learning.

    Images of more than 64 px are averaged down to that: a bank of 224 px would take 4.8 GB, some times over.
    """
    if max(pixels.shape[1:3]) > _FLOOR_SIDE:
        side = (_FLOOR_SIDE, _FLOOR_SIDE)
        pixels = np.stack([np.asarray(Image.fromarray(one).resize(side, Image.Resampling.BOX)) for one in pixels])
    return pixels.reshape(len(pixels), -1).astype(np.float32)


def colour_histogram(pixels: Pixels) -> Floats:
    """(n, H, W, 3) bytes to (n, 64): square roots of the shares of 4 x 4 x 4 colour cells."""
    cells = (pixels >> 6).astype(np.int64)
    codes = cells[..., 0] * 16 + cells[..., 1] * 4 + cells[..., 2]
    counts = np.stack([np.bincount(one.reshape(-1), minlength=64) for one in codes])
    return np.asarray(np.sqrt(counts / codes[0].size), dtype=np.float32)
