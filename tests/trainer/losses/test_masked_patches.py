"""iBOT's loss against numbers of the published code (see ``test_sinkhorn.py``), with its gradient."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from synfarm_trainer.losses.masked_patches import entropy, masked_patch_loss
from synfarm_trainer.losses.sinkhorn import assignment, prototype_masses

REFERENCE = np.load(Path(__file__).with_name("reference_numbers.npz"), allow_pickle=False)


def number(name: str) -> torch.Tensor:
    return torch.from_numpy(np.atleast_1d(REFERENCE[f"ibot/{name}"]))


def test_loss_targets_and_gradient_are_the_published_ones() -> None:
    """Images with 8, 8, 8 and 5 masked tokens weigh the same; two images are not masked and do not count."""
    masks = number("masks")
    student = number("student").requires_grad_()
    seen = number("teacher")
    targets = assignment(seen, 0.07, prototype_masses(lambda: [seen], 0.07, 3))
    assert torch.allclose(targets, number("targets"), atol=1e-5)
    losses = masked_patch_loss(student, targets, temperature=0.1)
    tokens = masks.sum(dim=1, keepdim=True).expand_as(masks)[masks]
    loss = (losses / tokens).sum() / masks.any(dim=1).sum()
    loss.backward()
    assert loss.item() == pytest.approx(number("loss").item(), rel=1e-5)
    assert torch.allclose(student.grad, number("grad"), rtol=1e-4, atol=1e-6)


def test_the_temperature_is_the_students_alone_and_half_precision_is_promoted() -> None:
    logits = torch.tensor([[0.3, -0.1, 0.2]], dtype=torch.float64)
    targets = torch.tensor([[0.2, 0.5, 0.3]], dtype=torch.float64)
    by_hand = -sum(
        t * (x / 0.1 - math.log(sum(math.exp(y / 0.1) for y in logits[0].tolist())))
        for t, x in zip(targets[0].tolist(), logits[0].tolist(), strict=True)
    )
    assert masked_patch_loss(logits, targets, 0.1).item() == pytest.approx(by_hand, rel=1e-14)
    assert masked_patch_loss(logits.bfloat16(), targets.float(), 0.1).dtype == torch.float32


def test_targets_take_no_gradient() -> None:
    logits, targets = torch.zeros(2, 3, requires_grad=True), torch.full((2, 3), 1 / 3, requires_grad=True)
    masked_patch_loss(logits, targets, 0.1).sum().backward()
    assert targets.grad is None


def test_entropy_of_certain_and_of_ignorant_targets() -> None:
    targets = torch.tensor([[1.0, 0, 0, 0], [0.25, 0.25, 0.25, 0.25]])
    assert entropy(targets).tolist() == pytest.approx([0, math.log(4)])
