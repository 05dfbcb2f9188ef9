"""The student's pass in micro-batches, for objectives whose targets stand before it begins."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from synfarm_trainer.objectives.batch import TensorBatch
from synfarm_trainer.objectives.term_gradients import TermGradients
from synfarm_trainer.ranks import Ranks

__all__ = ["accumulate_terms"]


def accumulate_terms(
    parts: Sequence[TensorBatch],
    terms_of: Callable[[int, TensorBatch], Mapping[str, Tensor]],
    weights: Mapping[str, float],
    ranks: Ranks,
    separate: TermGradients | None = None,
) -> dict[str, Tensor]:
    """Add the gradient of the weighted terms, a part at a time; the terms' sums over parts, unweighted.

    Args:
        terms_of: the place and the part to its share of each term, already divided by the count of the *global* batch.
        separate: takes each weighted term's gradient too; of a single term it is the gradient itself.
    """
    totals = {name: torch.zeros((), dtype=torch.float64) for name in weights}
    for place, part in enumerate(parts):
        terms = terms_of(place, part)
        weighted = {name: weights[name] * term for name, term in terms.items()}
        if separate is not None and len(weights) > 1:
            separate.add(weighted)
        ranks.backward([torch.stack(list(weighted.values())).sum()], last=place == len(parts) - 1)
        for name, term in terms.items():
            totals[name] = totals[name] + term.detach().double()
    return totals
