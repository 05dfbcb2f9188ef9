"""Numbers that tell a collapse before the losses do. Each is made of gathered rows, so all ranks say the same."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["SAMPLE", "effective_rank", "named", "similarities", "spread", "use", "watched"]

SAMPLE = 128
"""Rows whose effective rank is taken, the first of the global batch: it costs the cube of their number."""


def spread(rows: Tensor) -> float:
    """Of unit vectors (n, d): near 1 when they fill the sphere, 0 when they have collapsed to one point.

    The standard deviation of each dimension, averaged, times the root of d (Chen and He 2021, SimSiam, section 4.1).
    """
    return float(rows.std(dim=0, correction=0).mean()) * math.sqrt(rows.shape[1])


def use(share: Tensor) -> float:
    """Of the mean (K,) of targets: 1 when all prototypes are used alike, 0 when all targets name the same one.

    Its entropy over that of the uniform distribution (Caron et al. 2021, DINO, section 5.3 watches the same two ends).
    """
    return float(torch.special.entr(share).sum()) / math.log(len(share))


def named(winners: Tensor, prototypes: int) -> float:
    """The share of prototypes that are the greatest of some target; 1 is all, or as many as there are targets.

    Args:
        winners: (t,) the greatest of each target; t may be 0.
        prototypes: how many there are.
    """
    return len(torch.unique(winners)) / max(1, min(prototypes, len(winners)))


def effective_rank(rows: Tensor) -> float:
    """Of (n, d): exp of the entropy of the singular values over their sum, from 1 to min(n, d); 0 if all are 0.

    Roy and Vetterli 2007; for embeddings without a label Garrido et al. 2023 (RankMe), there as here not centered.
    """
    if not bool(rows.isfinite().all()):
        return 0.0  # the guard has the word
    values = torch.linalg.svdvals(rows.detach().double().cpu())
    total = float(values.sum())
    return math.exp(float(torch.special.entr(values / total).sum())) if total > 0 else 0.0


def similarities(rows: Tensor, labels: Tensor) -> tuple[float, float]:
    """The mean cosine of pairs of one label, and of pairs of two labels, of unit vectors (n, d); 0 without such a pair.

    Alignment and uniformity in their plainest form (Wang and Isola 2020). Of all pairs, by sums: the sum over pairs of
    a set is the squared length of its sum less its own squared lengths.
    """
    rows = rows.detach().double()
    _, places, counts = torch.unique(labels, return_inverse=True, return_counts=True)
    sums = rows.new_zeros(len(counts), rows.shape[1]).index_add_(0, places, rows)
    own = float((rows**2).sum())
    alike, every = float((sums**2).sum()) - own, float((sums.sum(dim=0) ** 2).sum()) - own
    pairs = int((counts * (counts - 1)).sum())
    others = len(rows) * (len(rows) - 1) - pairs
    return (alike / pairs if pairs else 0.0), ((every - alike) / others if others else 0.0)


def watched(rows: Tensor, labels: Tensor, name: str = "key") -> dict[str, float]:
    """What is told of an objective's embeddings.

    Args:
        rows: (n, d) unit vectors of the global batch, in rank order.
        labels: (n,) what is positive to each other.
        name: of the embeddings.
    """
    alike, apart = similarities(rows, labels)
    return {
        f"{name}_spread": spread(rows),
        f"{name}_effective_rank": effective_rank(rows[:SAMPLE]),
        f"{name}_positive_similarity": alike,
        f"{name}_negative_similarity": apart,
    }
