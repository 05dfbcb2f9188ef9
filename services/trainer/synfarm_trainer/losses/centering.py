"""Targets by centering (DINO, Caron et al. 2021, equation 4): the alternative to Sinkhorn and Knopp's."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from synfarm_trainer.losses.precision import precise

__all__ = ["centered", "next_center"]


@torch.no_grad()
def centered(logits: Tensor, center: Tensor, temperature: float) -> Tensor:
    """softmax((x - c) / t): (..., K) logits to targets of at least float32, each row a distribution.

    Args:
        center: (K,), as earlier batches left it; this batch's own mean moves it for the next call.
    """
    return ((precise(logits) - center) / temperature).softmax(dim=-1)


@torch.no_grad()
def next_center(
    logits: Tensor, center: Tensor, momentum: float, gather: Callable[[Tensor], Tensor] = lambda rows: rows
) -> Tensor:
    """c <- m * c + (1 - m) * mean of x over the rows of all ranks: the (K,) center for the next batch's targets.

    Args:
        logits: (..., K) of this rank, as many rows as it has; there may be none.
        gather: this rank's (1, K + 1) to all ranks' (W, K + 1) in rank order.
    """
    rows = precise(logits).reshape(-1, logits.shape[-1])
    told = torch.cat([rows.sum(dim=0), rows.new_tensor([float(len(rows))])])
    total = gather(told[None]).sum(dim=0)
    count = total[-1]
    mean = torch.where(count > 0, total[:-1] / count.clamp(min=1), center)
    return center * momentum + mean * (1 - momentum)
