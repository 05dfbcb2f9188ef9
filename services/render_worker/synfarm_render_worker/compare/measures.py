"""How far two images lie apart, by several measures, none of which is ours: each is 0 for equal images."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from synfarm_render_worker.compare.features import Embedder
from synfarm_render_worker.renderer import Pixels

__all__ = ["Features", "Grey", "Measure", "Ssim", "Values", "ssim_if_installed"]

Values = npt.NDArray[np.floating[Any]]


class Measure(Protocol):
    """A distance of images of one size."""

    @property
    def name(self) -> str: ...

    @property
    def about(self) -> str:
        """What it measures, for people."""

    def prepared(self, images: Sequence[Pixels]) -> npt.NDArray[Any]:
        """One row an image, made once however many distances are asked of it."""

    def between(self, left: npt.NDArray[Any], right: npt.NDArray[Any]) -> Values:
        """Distances of rows, pair by pair."""


class Grey:
    """Needs no weights, and tells more of how things moved than of what they are."""

    name = "grey"
    about = "mean absolute difference in grey levels of 255"

    def prepared(self, images: Sequence[Pixels]) -> npt.NDArray[Any]:
        return np.stack([np.asarray(Image.fromarray(image).convert("L")) for image in images])

    def between(self, left: npt.NDArray[Any], right: npt.NDArray[Any]) -> Values:
        found: Values = np.abs(left.astype(np.int16) - right).mean(axis=(1, 2))
        return found


class Ssim:
    """Structural similarity of the grey images by pytorch-msssim."""

    name = "ssim"
    about = "1 - SSIM of the grey images"

    def prepared(self, images: Sequence[Pixels]) -> npt.NDArray[Any]:
        return Grey().prepared(images)

    def between(self, left: npt.NDArray[Any], right: npt.NDArray[Any]) -> Values:
        import torch
        from pytorch_msssim import ssim

        pair = [torch.from_numpy(side.astype(np.float32))[:, None] for side in (left, right)]
        found: Values = 1 - ssim(*pair, data_range=255, size_average=False).numpy()
        return found


class Features:
    """Cosine distance of a network's features: what a network sees of the difference."""

    name = "features"

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    @property
    def about(self) -> str:
        return f"1 - cosine of the features of {self._embedder.name}"

    def prepared(self, images: Sequence[Pixels]) -> npt.NDArray[Any]:
        return self._embedder.embed(images)

    def between(self, left: npt.NDArray[Any], right: npt.NDArray[Any]) -> Values:
        found: Values = 1 - (left * right).sum(axis=1)
        return found


def ssim_if_installed() -> Ssim | None:
    return Ssim() if find_spec("pytorch_msssim") is not None else None
