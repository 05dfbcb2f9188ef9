"""KoLeo against a slow reference in float64 and the published number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import slow_features
import torch
from agreement import agree, draw
from hypothesis import given, settings
from hypothesis import strategies as st

from synfarm_trainer.losses.koleo import koleo_loss

PUBLISHED = np.load(Path(__file__).parents[2] / "oracles" / "baseline_losses.npz", allow_pickle=False)


@settings(max_examples=15)
@given(images=st.integers(2, 7), width=st.integers(2, 6), seed=st.integers(0, 99))
def test_it_equals_the_slow_reference(images: int, width: int, seed: int) -> None:
    agree(koleo_loss, slow_features.koleo, draw(images, width, seed=seed))


def test_the_published_loss_and_gradient() -> None:
    features = torch.from_numpy(PUBLISHED["koleo_in"]).requires_grad_()
    loss = koleo_loss(features).mean()
    loss.backward()
    assert loss.item() == pytest.approx(float(PUBLISHED["koleo_loss"]), rel=1e-5)
    torch.testing.assert_close(features.grad, torch.from_numpy(PUBLISHED["koleo_grad"]), rtol=1e-5, atol=1e-6)


def test_two_equal_features_give_a_finite_loss_and_opposite_ones_are_not_their_own_neighbours() -> None:
    equal = torch.ones(2, 3, requires_grad=True)
    koleo_loss(equal).sum().backward()
    assert equal.grad.isfinite().all()
    opposite = koleo_loss(torch.tensor([[1.0, 0], [-1, 0]]))
    assert opposite.tolist() == pytest.approx([-np.log(2)] * 2, rel=1e-6)


def test_one_feature_is_refused() -> None:
    with pytest.raises(ValueError, match="at least two images"):
        koleo_loss(torch.ones(1, 3))
