"""The multi-positive loss against a slow reference in float64, and numbers fixed once."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from synfarm_trainer.losses.multi_positive import NoPositive, multi_positive_loss


def slow(anchors, keys, anchor_labels, key_labels, own, temperature) -> list[float]:
    """Anchor by anchor, key by key, in Python floats."""
    losses = []
    for i, anchor in enumerate(anchors.tolist()):
        admitted = [j for j in range(len(keys)) if j != int(own[i])]
        logit = {j: sum(a * b for a, b in zip(anchor, keys[j].tolist(), strict=True)) / temperature for j in admitted}
        top = max(logit.values())
        total = sum(math.exp(value - top) for value in logit.values())
        positives = [j for j in admitted if key_labels[j] == anchor_labels[i]]
        losses.append(-sum(logit[j] - top - math.log(total) for j in positives) / len(positives))
    return losses


def batch(seed: int, captions: int = 5, views: int = 3, dim: int = 8):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(captions).repeat_interleave(views) * 7
    draw = lambda: normalize(torch.randn(len(labels), dim, generator=generator, dtype=torch.float64), dim=-1)  # noqa: E731
    return draw(), draw(), labels


@pytest.mark.parametrize("temperature", [0.08, 0.1, 1.0])
def test_it_equals_the_slow_reference(temperature: float) -> None:
    anchors, keys, labels = batch(0)
    own = torch.arange(len(keys))
    fast = multi_positive_loss(anchors, keys, labels, labels, own, temperature)
    assert fast.tolist() == pytest.approx(slow(anchors, keys, labels, labels, own, temperature), rel=1e-12)
    none = torch.full_like(own, -1)
    fast = multi_positive_loss(anchors, keys, labels, labels, none, temperature)
    assert fast.tolist() == pytest.approx(slow(anchors, keys, labels, labels, none, temperature), rel=1e-12)


def test_numbers_fixed_once() -> None:
    """By hand: keys on the axes, one positive at cosine 1, one at 0, own left out, one negative at -1."""
    keys = torch.tensor([[1.0, 0], [1, 0], [0, 1], [-1, 0]], dtype=torch.float64)
    loss = multi_positive_loss(
        keys[:1], keys, torch.tensor([3]), torch.tensor([3, 3, 3, 4]), torch.tensor([0]), temperature=1.0
    )
    expected = math.log(math.e + 1 + 1 / math.e) - 0.5
    assert loss.item() == pytest.approx(expected, rel=1e-14)


def test_a_slice_of_anchors_gives_the_same_losses_and_gradients() -> None:
    anchors, keys, labels = batch(1)
    own = torch.arange(len(keys))
    whole = anchors.clone().requires_grad_()
    parts = anchors.clone().requires_grad_()
    multi_positive_loss(whole, keys, labels, labels, own, 0.1).sum().backward()
    for part in (slice(0, 4), slice(4, 15)):
        multi_positive_loss(parts[part], keys, labels[part], labels, own[part], 0.1).sum().backward()
    assert torch.allclose(whole.grad, parts.grad, rtol=1e-12, atol=1e-14)


def test_positives_follow_the_labels_of_each_call() -> None:
    anchors, keys, labels = batch(2)
    own = torch.arange(len(keys))
    other = labels.roll(1)
    first, second = (multi_positive_loss(anchors, keys, x, x, own, 0.1) for x in (labels, other))
    assert not torch.allclose(first, second)
    assert second.tolist() == pytest.approx(slow(anchors, keys, other, other, own, 0.1), rel=1e-12)


def test_one_image_a_caption_is_refused() -> None:
    anchors, keys, labels = batch(3, views=1)
    with pytest.raises(NoPositive, match=r"data\.views"):
        multi_positive_loss(anchors, keys, labels, labels, torch.arange(len(keys)), 0.1)


def test_half_precision_is_promoted() -> None:
    anchors, keys, labels = batch(4)
    own = torch.arange(len(keys))
    exact = multi_positive_loss(anchors, keys, labels, labels, own, 0.08)
    half = multi_positive_loss(anchors.bfloat16(), keys.bfloat16(), labels, labels, own, 0.08)
    assert half.dtype == torch.float32
    assert torch.allclose(half.double(), exact, atol=0.05)


def test_the_published_loss_without_a_teacher_and_its_gradient() -> None:
    """StableRep's loss: anchors are the keys, gradient through both (see ``test_sinkhorn.py`` for the numbers)."""
    reference = np.load(Path(__file__).with_name("reference_numbers.npz"), allow_pickle=False)
    features = torch.from_numpy(reference["contrast/feats"]).requires_grad_()
    labels = torch.from_numpy(reference["contrast/labels"])
    unit = normalize(features, dim=-1)
    loss = multi_positive_loss(unit, unit, labels, labels, torch.arange(len(labels)), 0.08).mean()
    loss.backward()
    assert loss.item() == pytest.approx(float(reference["contrast/loss"]), rel=1e-12)
    assert torch.allclose(features.grad, torch.from_numpy(reference["contrast/grad"]), rtol=1e-9, atol=1e-12)
