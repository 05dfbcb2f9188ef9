"""KoLeo within fixed groups, so that neither ranks nor micro-batches change who is whose neighbour."""

from __future__ import annotations

import torch
from torch import Tensor

from synfarm_trainer.losses.koleo import koleo_loss

__all__ = ["koleo_in_cells"]


def koleo_in_cells(classes: Tensor, crops: int, images: int) -> Tensor:
    """(n * images * crops, width) class tokens of n whole cells to as many losses, in another order.

    Args:
        classes: crops of an image adjacent, images of a cell adjacent.
        crops: of an image. Only those of one number meet: two crops of an image would only repel.
        images: of a cell.
    """
    groups = classes.reshape(-1, images, crops, classes.shape[1]).transpose(1, 2).flatten(0, 1)
    return torch.cat([koleo_loss(group) for group in groups])
