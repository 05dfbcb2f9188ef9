"""Contrastive losses from their definitions: anchor by anchor, key by key."""

from __future__ import annotations

import torch
from torch import Tensor


def multi_positive(
    anchors: Tensor, keys: Tensor, anchor_labels: Tensor, key_labels: Tensor, own: Tensor, temperature: float | Tensor
) -> Tensor:
    """(A,): the mean over an anchor's positives of -log q."""
    losses = []
    for i, anchor in enumerate(anchors):
        admitted = [j for j in range(len(keys)) if j != int(own[i])]
        similar = {j: (anchor * keys[j]).sum() / temperature for j in admitted}
        top = max(float(value.detach()) for value in similar.values())
        total = sum((similar[j] - top).exp() for j in admitted)
        logs = [similar[j] - top - total.log() for j in admitted if int(key_labels[j]) == int(anchor_labels[i])]
        losses.append(-sum(logs) / len(logs))
    return torch.stack(losses)


def clip(images: Tensor, texts: Tensor, image_labels: Tensor, text_labels: Tensor, log_scale: Tensor) -> Tensor:
    """The matrix of logits, its rows, its columns."""
    logits = log_scale.exp() * images @ texts.T
    sides = []
    for matrix, mine, theirs in ((logits, image_labels, text_labels), (logits.T, text_labels, image_labels)):
        losses = []
        for i, row in enumerate(matrix):
            predicted = row.log_softmax(dim=0)
            matching = [predicted[j] for j in range(len(row)) if int(theirs[j]) == int(mine[i])]
            losses.append(-sum(matching) / len(matching))
        sides.append(sum(losses) / len(losses))
    return (sides[0] + sides[1]) / 2


def moco_v3(
    first: Tensor, second: Tensor, first_keys: Tensor, second_keys: Tensor, own: Tensor, temperature: float
) -> Tensor:
    losses = []
    for i, place in enumerate(own.tolist()):
        across = torch.zeros((), dtype=first.dtype)
        for anchor, keys in ((first[i], second_keys), (second[i], first_keys)):
            similar = torch.stack([(anchor * key).sum() / temperature for key in keys.detach()])
            across = across - similar.log_softmax(dim=0)[place]
        losses.append(2 * temperature * across)
    return torch.stack(losses)
