"""Targets of masked patches: the teacher's logits spread over prototypes by Sinkhorn and Knopp (method section 3.6)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

__all__ = ["assignment", "prototype_masses"]


@torch.no_grad()
def prototype_masses(
    parts: Callable[[], Iterable[Tensor]],
    temperature: float,
    rounds: int,
    gather: Callable[[Tensor], Tensor] = lambda rows: rows,
) -> Tensor:
    """What makes :func:`assignment` use every prototype alike: the logarithm of each one's mass after the last round.

    A round divides by the mass of each prototype over all tokens of all ranks, then by that of each token. Of the usual
    form (exp, divide by the sum, then by rows, K, columns, B) the constants cancel. In logarithms, because a trained
    gain lets ``exp(logits / temperature)`` leave float32's range. Inputs are not changed.

    Args:
        parts: the logits of this rank's tokens, piece by piece, anew at each call: tokens x K need not fit in memory.
            At least one piece (T, K); T may be 0.
        gather: this rank's (1, K) to all ranks' (W, K) in rank order. The only thing that ranks exchange.

    Returns:
        (K,), of at least float32.
    """
    found: Tensor | None = None
    for _ in range(rounds):
        pieces = []
        for logits in parts():
            scores = _scores(logits, temperature)
            if found is not None:
                scores = scores - (scores - found).logsumexp(dim=1, keepdim=True)
            pieces.append(scores.logsumexp(dim=0))
        found = gather(torch.stack(pieces).logsumexp(dim=0, keepdim=True)).logsumexp(dim=0)
    assert found is not None, "at least one round"
    return found


@torch.no_grad()
def assignment(logits: Tensor, temperature: float, masses: Tensor) -> Tensor:
    """(T, K) logits to targets of at least float32, each row a distribution; near-equal mass in each column."""
    return (_scores(logits, temperature) - masses).softmax(dim=1)


def _scores(logits: Tensor, temperature: float) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32)) / temperature
