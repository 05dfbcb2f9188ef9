"""A rank's share of a step as tensors, and its division into micro-batches."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from synfarm_trainer.data.loader import RankBatch

__all__ = ["TensorBatch"]


@dataclass(frozen=True, slots=True, eq=False)
class TensorBatch:
    """n images of whole captions in batch order, L local crops of each; None for what the configuration leaves out."""

    pixels: Tensor
    """(n, H, W, 3) bytes."""
    labels: Tensor
    """(n,): caption of each image."""
    local_pixels: Tensor | None = None
    """(n * L, h, w, 3) bytes, crops of an image adjacent."""
    masks: Tensor | None = None
    """(n, patches) bool."""
    kept: Tensor | None = None
    """(n, depth, 2) bool."""
    local_kept: Tensor | None = None
    """(n * L, depth, 2) bool."""

    @classmethod
    def of(cls, batch: RankBatch, views: int) -> TensorBatch:
        arrays = (batch.local_pixels, batch.masks, batch.kept, batch.local_kept)
        tensors = (None if array is None else torch.from_numpy(array) for array in arrays)
        return cls(torch.from_numpy(batch.pixels), torch.from_numpy(batch.rows.repeat(views)), *tensors)

    def __len__(self) -> int:
        return len(self.pixels)

    def part(self, start: int, stop: int) -> TensorBatch:
        """Images ``start`` to ``stop - 1`` with all that belongs to them."""
        images = len(self)

        def cut(rows: Tensor | None) -> Tensor | None:
            if rows is None:
                return None
            each = len(rows) // images
            return rows[start * each : stop * each]

        rest = (cut(rows) for rows in (self.local_pixels, self.masks, self.kept, self.local_kept))
        return TensorBatch(self.pixels[start:stop], self.labels[start:stop], *rest)
