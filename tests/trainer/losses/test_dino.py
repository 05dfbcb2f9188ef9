"""DINO's loss against a slow reference in float64 and the published numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import slow_prototypes
import torch
from agreement import agree, draw
from hypothesis import given, settings
from hypothesis import strategies as st

from synfarm_trainer.losses.dino import dino_loss
from synfarm_trainer.losses.sinkhorn import assignment, prototype_masses

PUBLISHED = np.load(Path(__file__).parents[2] / "oracles" / "baseline_losses.npz", allow_pickle=False)


@settings(max_examples=20)
@given(crops=st.integers(1, 4), views=st.integers(1, 3), images=st.integers(1, 3), shared=st.integers(0, 2))
def test_it_equals_the_slow_reference(crops: int, views: int, images: int, shared: int) -> None:
    targets = draw(views, images, 5, seed=1).softmax(dim=-1)
    if (crops, views) == (1, 1) and shared:
        with pytest.raises(ValueError, match="a second global crop or a local one"):
            dino_loss(draw(1, images, 5), targets, 0.1, shared=shared)
        return
    agree(
        lambda x: dino_loss(x, targets, 0.1, shared=shared),
        lambda x: slow_prototypes.dino(x, targets, 0.1, shared),
        draw(crops, images, 5),
    )


def test_all_views_come_first_unless_it_is_said() -> None:
    student, targets = draw(4, 2, 5), draw(2, 2, 5, seed=1).softmax(dim=-1)
    assert torch.equal(dino_loss(student, targets, 0.1), dino_loss(student, targets, 0.1, shared=2))


def test_the_published_loss_targets_and_gradient() -> None:
    """Two views, three local crops: six pairs, which the published code adds up."""

    def number(name: str) -> torch.Tensor:
        return torch.from_numpy(np.asarray(PUBLISHED[name]))

    seen = number("dino_teacher_logits")
    targets = assignment(seen, 0.07, prototype_masses(lambda: [seen], 0.07, 3)).reshape(2, 4, 24)
    torch.testing.assert_close(targets, number("dino_sk_targets"), rtol=1e-5, atol=1e-5)
    student = number("dino_student_logits").requires_grad_()
    loss = 6 * dino_loss(student.reshape(3, 4, 24), number("dino_sk_targets"), 0.1, shared=0).mean()
    loss.backward()
    torch.testing.assert_close(loss, number("dino_loss"), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(student.grad, number("dino_grad"), rtol=1e-5, atol=1e-6)


def test_targets_take_no_gradient_and_half_precision_is_promoted() -> None:
    student, targets = draw(3, 2, 5).bfloat16().requires_grad_(), draw(2, 2, 5).softmax(dim=-1).requires_grad_()
    loss = dino_loss(student, targets.bfloat16(), 0.1)
    assert loss.dtype == torch.float32
    loss.sum().backward()
    assert targets.grad is None
