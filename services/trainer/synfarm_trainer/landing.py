"""Where a batch of the loader becomes tensors on the rank's device."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from synfarm_trainer.config import TrainConfig
from synfarm_trainer.data.loader import RankBatch
from synfarm_trainer.objectives.batch import TensorBatch

__all__ = ["land"]


def land(batch: RankBatch, config: TrainConfig, device: torch.device) -> TensorBatch:
    """The batch on ``device``, crop by crop; on CPUs without a copy of what is cut already.

    Pixels are bytes until a network's pass normalises them. What is kept of each branch stays on the host, which needs
    its counts, as those of masks.
    """
    each = config.crops_of_caption
    pixels, local_pixels = _crops(batch, device)
    masks, texts = (None if array is None else _to(array, device) for array in (batch.masks, batch.texts))
    kept, local_kept = (None if array is None else torch.from_numpy(array) for array in (batch.kept, batch.local_kept))
    return TensorBatch(
        pixels=pixels,
        labels=_to(batch.rows.repeat(each), device),
        concepts=_to(batch.concepts.repeat(each), device),
        crops=config.data.crops,
        views=config.data.views,
        local_pixels=local_pixels,
        masks=masks,
        host_masks=None if batch.masks is None else torch.from_numpy(batch.masks),
        kept=kept,
        local_kept=local_kept,
        texts=texts,
    )


def _crops(batch: RankBatch, device: torch.device) -> tuple[Tensor, Tensor | None]:
    """Global and local crops: those that the loader cut, or cut here."""
    if batch.uncut is None:
        crops = [_to(cut, device) for cut in (batch.pixels, batch.local_pixels) if cut is not None]
    else:
        crops = batch.uncut.cut(device)
    return crops[0], crops[1] if len(crops) > 1 else None


def _to(array: NDArray[Any], device: torch.device) -> Tensor:
    """To a GPU from pinned memory, without waiting for it to arrive."""
    tensor = torch.from_numpy(array)
    return tensor if device.type == "cpu" else tensor.pin_memory().to(device, non_blocking=True)
