"""What is said about prototypes, from the definitions: token by token, prototype by prototype."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def sinkhorn(logits: Tensor, temperature: float, rounds: int) -> list[list[float]]:
    """The textbook form: exp, then rows, K, columns, B, in Python floats."""
    q = [[math.exp(value / temperature) for value in token] for token in logits.tolist()]
    tokens, prototypes = len(q), len(q[0])
    total = sum(map(sum, q))
    q = [[value / total for value in token] for token in q]
    for _ in range(rounds):
        mass = [sum(token[k] for token in q) for k in range(prototypes)]
        q = [[value / mass[k] / prototypes for k, value in enumerate(token)] for token in q]
        q = [[value / sum(token) / tokens for value in token] for token in q]
    return [[tokens * value for value in token] for token in q]


def cross_entropy(logits: Tensor, target: Tensor, temperature: float) -> Tensor:
    """Of one token: (K,) and (K,) to a number."""
    scaled = [value / temperature for value in logits]
    top = max(float(value.detach()) for value in scaled)
    normaliser = top + sum((value - top).exp() for value in scaled).log()
    return -sum(float(t) * (value - normaliser) for t, value in zip(target, scaled, strict=True))


def masked_patches(logits: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """(T, K) and (T, K) to (T,)."""
    return torch.stack([cross_entropy(row, target, temperature) for row, target in zip(logits, targets, strict=True)])


def dino(student: Tensor, targets: Tensor, temperature: float, shared: int) -> Tensor:
    """(S, n, K) and (V, n, K) to (n,)."""
    losses = []
    for image in range(student.shape[1]):
        pairs = [
            cross_entropy(student[s, image], targets[v, image], temperature)
            for s in range(len(student))
            for v in range(len(targets))
            if not (s == v and s < shared)
        ]
        losses.append(sum(pairs) / len(pairs))
    return torch.stack(losses)


def ibot_patches(patches: Tensor, targets: Tensor, masks: Tensor, temperature: float) -> Tensor:
    """(V, n, N, P), its targets and masks to (n,)."""
    losses = []
    for image in range(patches.shape[1]):
        views = []
        for view in range(len(patches)):
            masked = [
                cross_entropy(patches[view, image, token], targets[view, image, token], temperature)
                for token in range(patches.shape[2])
                if bool(masks[view, image, token])
            ]
            views.append(sum(masked) / max(1, len(masked)))
        losses.append(sum(views) / len(views) + 0 * patches[:, image].sum())
    return torch.stack(losses)


def next_center(logits: Tensor, center: Tensor, momentum: float) -> list[float]:
    """(rows, K) and (K,), prototype by prototype."""
    columns = [logits[:, k].tolist() for k in range(logits.shape[1])]
    return [
        momentum * old + (1 - momentum) * sum(column) / len(column)
        for old, column in zip(center.tolist(), columns, strict=True)
    ]
