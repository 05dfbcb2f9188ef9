"""KoLeo, cross-entropy with classes and MAE's regression from their definitions: image by image, number by number."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def koleo(features: Tensor) -> Tensor:
    unit = [row / (row * row).sum().sqrt() for row in features]
    losses = []
    for i, mine in enumerate(unit):
        distances = [((mine - other) ** 2).sum().sqrt() for j, other in enumerate(unit) if j != i]
        losses.append(-(min(distances, key=lambda distance: float(distance.detach())) + 1e-8).log())
    return torch.stack(losses)


def supervised(logits: Tensor, targets: Tensor, smoothing: float) -> Tensor:
    losses = []
    for row, target in zip(logits, targets, strict=True):
        normaliser = sum(value.exp() for value in row).log()
        loss = torch.zeros((), dtype=row.dtype)
        for c, value in enumerate(row):
            share = float(c == int(target)) if target.ndim == 0 else float(target[c])
            loss = loss - ((1 - smoothing) * share + smoothing / len(row)) * (value - normaliser)
        losses.append(loss)
    return torch.stack(losses)


def masked_pixels(predicted: Tensor, pixels: Tensor, normalised: bool) -> Tensor:
    losses = []
    for guess, patch in zip(predicted, pixels.tolist(), strict=True):
        mean, spread = 0.0, 1.0
        if normalised:
            mean = sum(patch) / len(patch)
            spread = math.sqrt(sum((value - mean) ** 2 for value in patch) / (len(patch) - 1) + 1e-6)
        errors = [(value - (target - mean) / spread) ** 2 for value, target in zip(guess, patch, strict=True)]
        losses.append(sum(errors) / len(errors))
    return torch.stack(losses)
