"""Decoded images with what was drawn of their crops, to be cut where the network is (``execution.augment``)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from synfarm_trainer.data.augment.device import apply_crops
from synfarm_trainer.data.augment.params import CropParams

__all__ = ["CropKind", "Uncut"]

_GPU_PIXELS = 1 << 22
"""Of the images of a pass, 64 of 256 x 256 pixels: bounds what a pass holds beside its crops."""


@dataclass(frozen=True, eq=False)
class CropKind:
    """Crops of one size, those of an image adjacent."""

    size: int
    params: CropParams
    """Of each * m crops of m images."""

    def crops_of(self, images: NDArray[np.int64], count: int) -> NDArray[np.int64]:
        """Places of the crops of some of ``count`` images."""
        each = len(self.params) // count
        return (images[:, None] * each + np.arange(each)).reshape(-1)


@dataclass(frozen=True, eq=False)
class Uncut:
    """m images in batch order, each (H, W, 3) bytes in a size of its own, and the crops that all are cut to."""

    images: Sequence[NDArray[np.uint8]]
    kinds: Sequence[CropKind]

    def _passes(self, device: torch.device) -> Iterator[NDArray[np.int64]]:
        """Images of one size and at most so many pixels. On a CPU one alone: it is nearly the fastest there, and no
        crop then depends on what else is in a rank's share."""
        by_size: dict[tuple[int, ...], list[int]] = {}
        for place, image in enumerate(self.images):
            by_size.setdefault(image.shape, []).append(place)
        for (height, width, _), places in by_size.items():
            at_once = 1 if device.type == "cpu" else max(1, _GPU_PIXELS // (height * width))
            for start in range(0, len(places), at_once):
                yield np.array(places[start : start + at_once], dtype=np.int64)

    def cut(self, device: torch.device) -> list[Tensor]:
        """The crops of each kind, (n, size, size, 3) bytes on ``device``, in batch order."""
        count = len(self.images)
        found = [
            torch.empty((count, len(kind.params) // count, kind.size, kind.size, 3), dtype=torch.uint8, device=device)
            for kind in self.kinds
        ]
        for places in self._passes(device):
            stacked = torch.from_numpy(np.stack([self.images[place] for place in places.tolist()]))
            there = (stacked.pin_memory() if device.type == "cuda" else stacked).to(device, non_blocking=True)
            rows = torch.from_numpy(places).to(device)
            for kind, crops in zip(self.kinds, found, strict=True):
                made = apply_crops(there, kind.params.part(kind.crops_of(places, count)), kind.size)
                crops[rows] = made.view(len(places), *crops.shape[1:])
        return [crops.flatten(0, 1) for crops in found]
