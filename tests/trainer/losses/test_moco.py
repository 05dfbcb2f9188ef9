"""MoCo v3's loss against a slow reference in float64."""

from __future__ import annotations

import slow_contrast
import torch
from agreement import agree, directions

from synfarm_trainer.losses.moco import moco_v3_loss


def test_it_equals_the_slow_reference_and_keys_take_no_gradient() -> None:
    """Three images of the second of two ranks."""
    own = torch.tensor([3, 4, 5])
    agree(
        lambda *x: moco_v3_loss(*x, own, 0.2),
        lambda *x: slow_contrast.moco_v3(*x, own, 0.2),
        directions(3, 4),
        directions(3, 4, seed=1),
        directions(6, 4, seed=2),
        directions(6, 4, seed=3),
    )


def test_it_is_symmetric_in_the_views_and_its_temperature_is_the_papers() -> None:
    one, other = directions(3, 4), directions(3, 4, seed=1)
    k_one, k_other, own = directions(3, 4, seed=2), directions(3, 4, seed=3), torch.arange(3)
    forth, back = moco_v3_loss(one, other, k_one, k_other, own), moco_v3_loss(other, one, k_other, k_one, own, 0.2)
    torch.testing.assert_close(forth, back)
