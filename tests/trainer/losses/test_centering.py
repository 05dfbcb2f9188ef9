"""Centering against a slow reference and the published numbers: a batch moves the center of the next one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import slow_prototypes
import torch
from agreement import draw

from synfarm_trainer.losses.centering import centered, next_center

ORACLES = Path(__file__).parents[2] / "oracles"
TOLERANCE = {"rtol": 1e-5, "atol": 1e-6}


def test_three_batches_of_patches_give_the_published_targets_and_centers() -> None:
    given = {name: torch.from_numpy(array) for name, array in np.load(ORACLES / "ibot_patch.npz").items()}
    center = torch.zeros(24)
    for step in range(3):
        torch.testing.assert_close(center, given[f"center/step{step}/center_used"].flatten(), **TOLERANCE)
        logits = given[f"center/step{step}/logits"]
        torch.testing.assert_close(centered(logits, center, 0.07), given[f"center/step{step}/probs"], **TOLERANCE)
        center = next_center(logits, center, 0.9)
    torch.testing.assert_close(center, given["center/final"].flatten(), **TOLERANCE)


def test_three_batches_of_class_tokens_give_the_published_targets_and_center() -> None:
    given = {name: torch.from_numpy(array) for name, array in np.load(ORACLES / "baseline_losses.npz").items()}
    center = torch.zeros(24)
    for step in range(3):
        logits = given["dino_teacher_logits"] * (step + 1)
        torch.testing.assert_close(centered(logits, center, 0.04), given[f"dino_center/step{step}/probs"], **TOLERANCE)
        center = next_center(logits, center, 0.9)
    torch.testing.assert_close(center, given["dino_center/final"].flatten(), **TOLERANCE)


@pytest.mark.parametrize("momentum", [0.0, 0.9, 1.0])
def test_the_center_equals_the_slow_reference(momentum: float) -> None:
    logits, center = draw(2, 4, 5), draw(5, seed=1)
    expected = slow_prototypes.next_center(logits.reshape(8, 5), center, momentum)
    assert next_center(logits, center, momentum).tolist() == pytest.approx(expected, rel=1e-12)


def test_no_row_anywhere_leaves_the_center_where_it_is() -> None:
    center = draw(5)
    torch.testing.assert_close(next_center(torch.zeros(0, 5, dtype=torch.float64), center, 0.9), center)


def test_targets_are_distributions_of_at_least_float32_without_gradient() -> None:
    logits = draw(3, 5).bfloat16().requires_grad_()
    targets = centered(logits, torch.zeros(5), 0.04)
    assert targets.dtype == torch.float32
    assert not targets.requires_grad
    torch.testing.assert_close(targets.sum(dim=-1), torch.ones(3))
