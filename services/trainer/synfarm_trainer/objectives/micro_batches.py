"""The student's pass in micro-batches, for objectives whose targets stand before it begins."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from synfarm_trainer.objectives.batch import TensorBatch

__all__ = ["accumulate_terms"]


def accumulate_terms(
    parts: Sequence[TensorBatch],
    terms_of: Callable[[int, TensorBatch], Mapping[str, Tensor]],
    weights: Mapping[str, float],
) -> dict[str, Tensor]:
    """Add the gradient of the weighted terms, a part at a time; the terms' sums over parts, unweighted.

    Args:
        terms_of: the place and the part to its share of each term, already divided by the count of the *global* batch.
    """
    totals = {name: torch.zeros((), dtype=torch.float64) for name in weights}
    for place, part in enumerate(parts):
        terms = terms_of(place, part)
        torch.autograd.backward(torch.stack([weights[name] * term for name, term in terms.items()]).sum())
        for name, term in terms.items():
            totals[name] += term.detach().double().cpu()
    return totals
