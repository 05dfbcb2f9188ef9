"""A rank's share of a step as tensors, and its division into micro-batches."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from synfarm_trainer.models.places import places_of

__all__ = ["TensorBatch"]


@dataclass(frozen=True, eq=False)
class TensorBatch:
    """n global crops of whole captions in batch order, ``crops`` of each image, and L local crops of each image.

    None stands for what the configuration leaves out.
    """

    pixels: Tensor
    """(n, H, W, 3) bytes."""
    labels: Tensor
    """(n,): caption of each crop."""
    concepts: Tensor | None = None
    """(n,): concept of each crop."""
    crops: int = 1
    """Global crops of an image; they are adjacent."""
    views: int = 0
    """Images of a caption; they are adjacent. 0 if nothing asks."""
    local_pixels: Tensor | None = None
    """(n / crops * L, h, w, 3) bytes, crops of an image adjacent."""
    masks: Tensor | None = None
    """(n, patches) bool."""
    host_masks: Tensor | None = None
    """The same as the host has them; None: they are fetched where they are asked for."""
    kept: Tensor | None = None
    """(n, depth, 2) bool."""
    local_kept: Tensor | None = None
    """(n / crops * L, depth, 2) bool."""
    texts: Tensor | None = None
    """(captions, context): tokens of each caption."""

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def captions(self) -> int:
        assert self.views, "the batch does not say how many images a caption has"
        return len(self) // (self.views * self.crops)

    @property
    def local_labels(self) -> Tensor:
        """(n / crops * L,): caption of each local crop."""
        assert self.local_pixels is not None
        images = self.labels[:: self.crops]
        return images.repeat_interleave(len(self.local_pixels) // len(images))

    @property
    def masked(self) -> Tensor:
        """(n, patches) bool, on the host."""
        assert self.masks is not None
        return self.masks.cpu() if self.host_masks is None else self.host_masks

    @cached_property
    def places(self) -> Tensor | None:
        """(t,): of the masked patches, :func:`~synfarm_trainer.models.places.places_of`; None without masks."""
        return None if self.masks is None else places_of(self.masked, self.masks.device)

    def part(self, start: int, stop: int) -> TensorBatch:
        """Global crops ``start`` to ``stop - 1``, whole captions of them, with all that belongs to them."""
        crops = len(self)

        def cut(rows: Tensor | None) -> Tensor | None:
            return None if rows is None else rows[start * len(rows) // crops : stop * len(rows) // crops]

        return TensorBatch(
            pixels=self.pixels[start:stop],
            labels=self.labels[start:stop],
            concepts=cut(self.concepts),
            crops=self.crops,
            views=self.views,
            local_pixels=cut(self.local_pixels),
            masks=cut(self.masks),
            host_masks=cut(self.host_masks),
            kept=cut(self.kept),
            local_kept=cut(self.local_kept),
            texts=cut(self.texts),
        )

    def parts(self, size: int) -> list[TensorBatch]:
        """The whole in pieces of ``size`` global crops, the last maybe shorter."""
        return [self.part(start, min(start + size, len(self))) for start in range(0, len(self), size)]
