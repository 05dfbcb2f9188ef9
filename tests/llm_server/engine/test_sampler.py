"""Sampling: the short cut of top-p is exact, frequencies follow the distribution, penalties and filters hold."""

from __future__ import annotations

import torch

from synfarm_llm_server.engine.request import Sampling
from synfarm_llm_server.engine.sampler import choose


def _many(logits: torch.Tensor, n: int = 2000, **setting) -> list[int]:
    rows = [Sampling(seed=7, sample=True, **setting)] * n
    choices = choose(logits.expand(n, -1), rows, [()] * n, list(range(n)))
    return [choice.id for choice in choices]


def test_frequencies_follow_the_distribution() -> None:
    probs = torch.tensor([0.5, 0.3, 0.15, 0.05])
    counts = torch.bincount(torch.tensor(_many(probs.log())), minlength=4) / 2000
    assert torch.allclose(counts, probs, atol=0.04)


def test_top_p_keeps_the_token_that_crosses() -> None:
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
    assert set(_many(logits, top_p=0.6)) == {0, 1}
    assert set(_many(logits, top_p=0.1)) == {0}
    assert set(_many(logits, top_k=3)) == {0, 1, 2}
    assert set(_many(logits, top_k=3, top_p=0.6)) == {0, 1}


def test_top_p_beyond_the_short_list_is_exact() -> None:
    flat = torch.zeros(3000)
    seen = set(_many(flat, 1500, top_p=0.9))
    assert len(seen) > 1000


def test_penalties() -> None:
    logits = torch.tensor([[2.0, 1.9, -1.0]])
    assert choose(logits, [Sampling(repetition_penalty=2.0)], [[0]], [0])[0].id == 1
    assert choose(logits, [Sampling(frequency_penalty=2.0)], [[0]], [0])[0].id == 1
    assert choose(logits, [Sampling()], [[0]], [0])[0].id == 0
