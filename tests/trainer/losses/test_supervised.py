"""Cross-entropy with classes against a slow reference in float64."""

from __future__ import annotations

import pytest
import slow_features
import torch
from agreement import agree, draw

from synfarm_trainer.losses.supervised import supervised_loss


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.2])
@pytest.mark.parametrize("targets", [torch.tensor([3, 0, 0, 1]), draw(4, 5, seed=1).softmax(dim=1)])
def test_it_equals_the_slow_reference(targets: torch.Tensor, smoothing: float) -> None:
    """Classes, and distributions where images were mixed."""
    agree(
        lambda x: supervised_loss(x, targets, smoothing),
        lambda x: slow_features.supervised(x, targets, smoothing),
        draw(4, 5),
    )


def test_half_precision_is_promoted() -> None:
    assert supervised_loss(draw(2, 3).bfloat16(), torch.tensor([0, 1])).dtype == torch.float32
    assert supervised_loss(draw(2, 3).bfloat16(), torch.full((2, 3), 1 / 3).bfloat16()).dtype == torch.float32
