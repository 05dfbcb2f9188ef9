"""Chooses the next token of every row: penalties, temperature, top-k, top-p, typical-p, and one keyed draw.

The draw of a row is a pure function of its seed and of the number of tokens it has; who shares the batch has no part.
What is left are the low bits of the logits, which depend on the batch's shape; where two tokens are that close, the
choice may differ. Order of the filters: as Text Generation Inference applies them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from synfarm.contracts.randomness import bits, key_of, uniform
from synfarm_llm_server.engine.request import Sampling

__all__ = ["Choice", "choose", "draw"]

_SHORT_LIST = 512
"""Tokens looked at first by top-p: a full sort of 49k costs 30 times more, and is needed only if these fall short."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The token of one row, its log-probability under the network, and the most likely ones if asked for."""

    id: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


def draw(seed: int, position: int) -> float:
    """The number in [0, 1) that decides the token at ``position`` of a row with this ``seed``."""
    number: float = uniform(bits(key_of(seed & ((1 << 63) - 1), "llm.token"), seed >> 63, position))
    return number


def choose(
    logits_bv: torch.Tensor, rows: Sequence[Sampling], histories: Sequence[Sequence[int]], positions: Sequence[int]
) -> list[Choice]:
    """One token a row from (B, vocabulary) logits; ``histories`` are prompt and generated ids, needed for penalties."""
    norm_b = torch.logsumexp(logits_bv, dim=-1)
    chosen = torch.argmax(logits_bv, dim=-1).tolist()
    for i, row in enumerate(rows):
        if not (row.sample or row.penalised):
            continue
        scores_v = _penalise(logits_bv[i], row, histories[i]) if row.penalised else logits_bv[i]
        if row.sample:
            chosen[i] = _sample(scores_v / row.temperature, row, draw(row.seed, positions[i]))
        else:
            chosen[i] = int(torch.argmax(scores_v))
    picked = (logits_bv.gather(1, torch.tensor(chosen, device=logits_bv.device)[:, None])[:, 0] - norm_b).tolist()
    return [
        Choice(token, logprob, _top(logits_bv[i] - norm_b[i], rows[i].top_n_tokens))
        for i, (token, logprob) in enumerate(zip(chosen, picked, strict=True))
    ]


def _top(logprobs_v: torch.Tensor, n: int) -> tuple[tuple[int, float], ...]:
    if not n:
        return ()
    best = torch.topk(logprobs_v, n)
    return tuple(zip(best.indices.tolist(), best.values.tolist(), strict=True))


def _penalise(logits_v: torch.Tensor, row: Sampling, history: Sequence[int]) -> torch.Tensor:
    """Repetition penalty (Keskar et al. 2019, section 4.1), then a penalty on each token's share of the text so far."""
    seen, counts = torch.unique(torch.tensor(history, device=logits_v.device), return_counts=True)
    values = logits_v[seen]
    values = torch.where(values < 0, values * row.repetition_penalty, values / row.repetition_penalty)
    values = values - row.frequency_penalty * counts / len(history)
    return logits_v.index_copy(0, seen, values)


def _sample(scores_v: torch.Tensor, row: Sampling, u: float) -> int:
    """Inverse of the cumulative distribution at ``u``, over the tokens that the filters leave."""
    vocabulary = scores_v.shape[0]
    if row.typical_p is not None:
        return _sample_typical(scores_v, row, u)
    if row.top_p is None and row.top_k is None:
        return _inverse(torch.softmax(scores_v, dim=-1), u)
    # Softmax runs over the k best, as the filters apply in turn; without top-k the normaliser needs every token.
    size = min(row.top_k or _SHORT_LIST, vocabulary)
    best = torch.topk(scores_v, size)
    total = torch.logsumexp(best.values if row.top_k else scores_v, dim=-1)
    probs = torch.exp(best.values - total)
    if row.top_p is None:
        return int(best.indices[_inverse(probs, u)])
    if not row.top_k and size < vocabulary and float(probs.sum()) < row.top_p:
        everything = torch.sort(scores_v, descending=True)
        probs = torch.exp(everything.values - total)
        return int(everything.indices[_inverse(_nucleus(probs, row.top_p), u)])
    return int(best.indices[_inverse(_nucleus(probs, row.top_p), u)])


def _nucleus(sorted_probs: torch.Tensor, mass: float) -> torch.Tensor:
    """The shortest beginning that holds ``mass`` (the token that crosses it stays; at least one)."""
    before = torch.cumsum(sorted_probs, dim=-1) - sorted_probs
    return sorted_probs[: max(1, int((before < mass).sum()))]


def _sample_typical(scores_v: torch.Tensor, row: Sampling, u: float) -> int:
    """Locally typical sampling (Meister et al. 2022), after top-k and top-p if they are set."""
    probs_v = torch.softmax(scores_v, dim=-1)
    ids = torch.argsort(probs_v, descending=True)
    if row.top_k:
        ids = ids[: row.top_k]
    probs = probs_v[ids] / probs_v[ids].sum()
    if row.top_p is not None:
        probs = _nucleus(probs, row.top_p)
        ids, probs = ids[: len(probs)], probs / probs.sum()
    information = -torch.log(probs.clamp_min(torch.finfo(probs.dtype).tiny))
    order = torch.argsort((information - (probs * information).sum()).abs())
    kept = _nucleus(probs[order], row.typical_p or 1.0)
    return int(ids[order[_inverse(kept, u)]])


def _inverse(probs: torch.Tensor, u: float) -> int:
    """Index at which the cumulative sum of (unnormalised) ``probs`` passes ``u``; summed in float64."""
    cumulative = torch.cumsum(probs.double(), dim=-1)
    at = int(torch.searchsorted(cumulative, float(cumulative[-1]) * u, right=True))
    return min(at, len(probs) - 1)
